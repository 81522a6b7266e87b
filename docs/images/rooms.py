"""The picture of the packages: every folder, its purpose and what it imports, drawn from the code.

python docs/images/rooms.py    # writes docs/images/rooms.png
"""

import ast
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from morph.reports.style import COLOURS, FAINT, INK, STYLE

ROOT = Path(__file__).parents[2]
PACKAGES = ("training", "serving", "morph")
#: Height of a room and of the gap between two, in units of the axes.
ROOM, GAP = 0.72, 0.28


def rooms() -> dict[str, list[str]]:
    """The folders of each package, from top to bottom in the order of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {c["containers"][0]: c["layers"] for c in contracts if "containers" in c}


def purpose(folder: Path) -> str:
    """The first sentence of a package's docstring."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).split(": ")[0].rstrip(".")


def arrows() -> dict[tuple[str, str], int]:
    """How many imports lead from one folder to another, those for type checkers left out."""
    found: dict[tuple[str, str], int] = {}
    for path in sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        here = ".".join(parts[:2]) if len(parts) > 2 else parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
                there = ".".join(node.module.split(".")[:2])
                if (ROOT / Path(*there.split("."))).is_dir() and there != here:
                    found[here, there] = found.get((here, there), 0) + 1
    return found


def draw(to: Path) -> None:
    """Draw the three packages: `training` and `serving` above `morph`, each with its rooms in order."""
    order, lines = rooms(), arrows()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(13, 15.5))
        place = {}
        for package, (left, top) in {"training": (0.0, 0.0), "serving": (8.2, 0.0), "morph": (4.1, -11.6)}.items():
            axes.text(left, top + 0.35, f"{package}/", fontsize=15, fontweight="bold", color=INK)
            for k, room in enumerate(order[package]):
                y = top - 0.4 - k * (ROOM + GAP)
                place[f"{package}.{room}"] = (left, y)
                axes.add_patch(
                    FancyBboxPatch(
                        (left, y - ROOM / 2), 5.2, ROOM, boxstyle="round,pad=0.02,rounding_size=0.08",
                        facecolor="white", edgecolor=COLOURS[PACKAGES.index(package)], linewidth=1.4, zorder=3,
                    )
                )  # fmt: skip
                files = list((ROOT / package / room).rglob("*.py"))
                axes.text(left + 0.12, y + 0.13, f"{room}/", fontsize=10.5, fontweight="bold", va="center", zorder=4)
                axes.text(
                    left + 5.1,
                    y + 0.13,
                    f"{len(files)} files",
                    fontsize=8,
                    color=INK,
                    alpha=0.6,
                    ha="right",
                    va="center",
                    zorder=4,
                )
                about = purpose(ROOT / package / room)
                axes.text(
                    left + 0.12,
                    y - 0.17,
                    about if len(about) <= 56 else about[:55].rsplit(" ", 1)[0] + " …",
                    fontsize=7.6,
                    color=INK,
                    va="center",
                    zorder=4,
                )
        for (here, there), count in lines.items():
            if here in place and there in place and here.split(".")[0] == there.split(".")[0]:
                (x, y), (_, z) = place[here], place[there]
                bend = min(0.75, 0.16 + 0.05 * abs(y - z))
                axes.add_patch(
                    FancyArrowPatch(
                        (x, y - 0.1), (x, z + 0.1), connectionstyle=f"arc3,rad={bend:.2f}",
                        arrowstyle="-|>", mutation_scale=9, color=COLOURS[PACKAGES.index(here.split(".")[0])],
                        linewidth=0.5 + min(count, 12) / 6, alpha=0.55, shrinkA=0, shrinkB=0, zorder=2,
                    )
                )  # fmt: skip
        for package, x in (("training", 2.6), ("serving", 10.8)):
            total = sum(n for (a, b), n in lines.items() if a.split(".")[0] == package and b.split(".")[0] == "morph")
            low = place[f"{package}.{order[package][-1]}"][1] - ROOM / 2
            axes.annotate(
                f"{total} imports", (6.7, -11.05), (x, low - 0.35), color=INK, alpha=0.8, fontsize=9, ha="center",
                arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 2},
            )  # fmt: skip
        axes.set(xlim=(-2.9, 13.6), ylim=(-20.9, 0.9))
        axes.axis("off")
        figure.savefig(to, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(Path(__file__).with_name("rooms.png"))
