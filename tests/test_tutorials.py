"""Every line of the tutorials, run as it is written but on fewer galaxies, and their links."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
#: What is smaller here than in the tutorials.
SMALLER = {"--number 300": "--number 60", "--number 900": "--number 120", "--size 2000": "--size 500"}
SMALLER |= {"--labels 300 --epochs 10": "--labels 60 --epochs 1"}


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("classify-and-compare", ["smooth.png", "report.html"]),
        ("adapt", ["adapted.keras", "difference.png"]),
        ("score-a-tile", ["scores-catalogue/scores.fits", "scores-catalogue/hats"]),
    ],
)
@pytest.mark.timeout(900)
def test_every_command_of_a_tutorial_works(page: str, made: list[str], tmp_path: Path, run_page) -> None:
    run_page(DOCS / "tutorials" / f"{page}.md", tmp_path, SMALLER)
    for name in made:
        assert (tmp_path / name).exists()


def test_each_size_that_is_replaced_stands_in_a_tutorial() -> None:
    text = "".join(page.read_text() for page in (DOCS / "tutorials").glob("*.md"))
    assert [size for size in SMALLER if size not in text] == []


def test_links_from_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", (DOCS.parent / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (DOCS.parent / link).exists()] == []
