"""The shipped weights on real surveys: every command and what it printed, for docs/explanation/real-surveys.md.

    MORPH_DATA=... python benchmarks/real_surveys.py [LOG]

Writes the log to LOG, build/real-surveys.md if not given; the tables of the page are taken from it. Needs the folder
of public images and labels that `MORPH_DATA` names, and about twenty minutes on two cores. Ends with exit status 1
when a command fails.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from morph.atomic import atomic
from morph.cli.quickstart import running_server

ROOT = Path(__file__).parents[1]
LOG = ROOT / "build" / "real-surveys.md"

#: Where the transcript says something, and then what is typed. `{server}` is a running server's address.
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "## SDSS: galaxies like those the weights were trained on\n\nThe test split of Galaxy Zoo 1 and 2: galaxies "
        "that no training has seen.",
        (
            "import $MORPH_DATA/sdss-galaxyzoo1/images --labels $MORPH_DATA/sdss-galaxyzoo1/labels.csv "
            "--survey sdss --to gz1",
            "evaluate models:/morph@sdss gz1 --run gz1",
            "import $MORPH_DATA/sdss-galaxyzoo2/images --labels $MORPH_DATA/sdss-galaxyzoo2/votes.csv "
            "--survey sdss --to gz2",
            "evaluate models:/morph@sdss gz2 --run gz2",
        ),
    ),
    (
        "## DECam: another camera, another colour mapping, no label yet\n\nThe weights as they are, and then "
        "fine-tuned: the sets are small, so every galaxy is predicted by a model fine-tuned on the other folds.",
        (
            "import $MORPH_DATA/decals-galaxyzoo-examples/images "
            "--labels $MORPH_DATA/decals-galaxyzoo-examples/labels.csv --survey decals --to examples",
            "import $MORPH_DATA/decals-galaxy10/images --labels $MORPH_DATA/decals-galaxy10/labels.csv "
            "--survey decals --pixel-scale 0.262 --to galaxy10",
            "evaluate models:/morph@sdss examples galaxy10 --split all --run decam-direct",
            "evaluate models:/morph@sdss examples galaxy10 --folds 5 --run decam-finetuned",
            "compare decam-direct decam-finetuned",
        ),
    ),
    (
        "## DECam rings\n\nAll are featured and not edge-on; half have a ring.",
        (
            "import $MORPH_DATA/decals-rings/images --labels $MORPH_DATA/decals-rings/labels.csv "
            "--survey decals --to rings",
            "evaluate models:/morph@sdss rings --split all --run rings-direct",
            "evaluate models:/morph@sdss rings --folds 5 --run rings-finetuned",
            "compare rings-direct rings-finetuned",
        ),
    ),
    (
        "## A real DES coadd\n\nScored without a catalogue and with one, then served and asked about its galaxies.",
        (
            "score $MORPH_DATA/des-coadd-cutout --model models:/morph@sdss --out detected",
            "score $MORPH_DATA/des-coadd-cutout --catalog catalogue.csv --model models:/morph@sdss --out catalogued",
            "export models:/morph@sdss --to serving",
            "score $MORPH_DATA/des-coadd-cutout --catalog catalogue.csv --server {server} --out served",
            "classify $MORPH_DATA/des-coadd-cutout --survey des --server {server}",
        ),
    ),
    (
        "## Cubes of DES galaxies\n\nNo labels: embedded, and ranked by strangeness.",
        (
            "import $MORPH_DATA/des-galaxies --survey des --to des-galaxies",
            "evaluate models:/morph@sdss des-galaxies --split all --run des-galaxies",
            "report --galaxies des-galaxies --split all --model models:/morph@sdss --to des-galaxies.html",
        ),
    ),
)


def transcript(words: str, data: str, server: str) -> str:
    """Run one verb and return what a terminal would show, with this machine's paths taken out."""
    from morph.cli.main import cli

    typed = words.replace("$MORPH_DATA", data).replace("{server}", server)
    arguments = [path for word in typed.split() for path in _expanded(word)]
    heard = io.StringIO()
    os.environ["COLUMNS"] = "110"
    with contextlib.redirect_stdout(heard):
        cli.main(arguments, prog_name="morph", standalone_mode=False)
    text = heard.getvalue().replace(data, "$MORPH_DATA").replace(f"{Path.cwd()}/", "").rstrip()
    text = re.sub(r"\([0-9a-f]{32}\)", "(…)", text)
    return f"$ morph {words.replace('{server}', 'localhost:8500')}\n{text}\n"


def _expanded(word: str) -> list[str]:
    """What a shell would make of a glob."""
    import glob

    return sorted(glob.glob(word)) if "*" in word else [word]


def catalogue_of(scores: Path, to: Path) -> None:
    """A catalogue such as a user would bring, from the sources that the first scoring detected."""
    import pyarrow.csv as csv
    import pyarrow.dataset as ds

    csv.write_csv(ds.dataset(scores, format="parquet").to_table(columns=["id", "ra", "dec"]), to)


def main() -> None:
    data = str(Path(os.environ.get("MORPH_DATA", ROOT.parent / "shared" / "data")).resolve())
    if not Path(data).is_dir():
        sys.exit(f"There are no survey images in '{data}'; set MORPH_DATA to the folder that holds them.")
    log = Path(sys.argv[1] if len(sys.argv) > 1 else LOG).resolve()
    console = Console(stderr=True)
    parts = [
        "# Figures on real surveys\n\nMade by `python benchmarks/real_surveys.py`: every line below was typed by it "
        "and printed by `morph`. The images are public data of SDSS, DES and the DESI Legacy Surveys, the labels "
        "Galaxy Zoo's; intervals are 95 % from a bootstrap over galaxies.\n"
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.chdir(folder)
        server = ""
        for title, commands in STEPS:
            parts.append(f"\n{title}\n\n```text\n")
            for words in commands:
                console.print(f"morph {words}", markup=False)
                if "{server}" in words and not server:
                    server = stack.enter_context(running_server(Path("serving")))
                parts.append(transcript(words, data, server))
                if words.endswith("--out detected"):
                    catalogue_of(Path("detected"), Path("catalogue.csv"))
            parts.append("```\n")
        pages = Path("des-galaxies.html")
        console.print(f"The page of pictures is {pages.stat().st_size / 1e6:.1f} MB.")
        keep = os.environ.get("MORPH_KEEP")
        if keep:
            Path(keep).write_bytes(pages.read_bytes())
    log.parent.mkdir(parents=True, exist_ok=True)
    with atomic(log) as building:
        building.write_text("".join(parts))
    console.print(f"Wrote {log}.")


if __name__ == "__main__":
    main()
