"""Every line of the tutorials, run as it is written but on fewer galaxies, and their links."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
#: What is smaller here than in the tutorials.
SMALLER = {"--number 300": "--number 60", "--number 900": "--number 120", "--size 2000": "--size 500"}
SMALLER |= {"--size 1500 --galaxies 150": "--size 900 --galaxies 90"}
SMALLER |= {"-n 400": "-n 60"}
SMALLER |= {"--labels 300 --epochs 10": "--labels 60 --epochs 1"}


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("classify-and-compare", ["smooth.png", "report.html"]),
        ("adapt", ["adapted.keras", "difference.png"]),
        ("score-a-tile", ["scores-catalogue/scores.fits", "scores-catalogue/hats"]),
        ("census", ["corrected/census.fits", "sequence.html"]),
        ("stack-haloes", ["stack/stack.fits", "stack/report.html"]),
        ("photo-z", ["nz.png", "photoz.hdf5"]),
        ("restore-a-field", ["sharper/shallow_r.fits"]),
        ("supernovae", ["supernovae.png", "hosts.parquet"]),
        ("sample-a-training-set", ["even.png"]),
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


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files_and_headings(page: str) -> None:
    """Of the pages outside the documentation, whose links `make linkcheck` does not see."""
    for link, anchor in re.findall(r"\]\(((?!https?:)[^)#]+)#?([^)]*)\)", (DOCS.parent / page).read_text()):
        target = DOCS.parent / link
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{link}#{anchor}"


def test_files_that_the_documentation_names_exist() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    named = {(page.name, name) for page in pages for name in NAMED.findall(page.read_text())}
    assert len(named) > 10
    assert sorted((page, name) for page, name in named if not (DOCS.parent / name).exists()) == []


#: A file of the repository in a page.
NAMED = re.compile(r"`((?:tests|training|serving|benchmarks|docs|morph)/[\w./-]+\.\w+)`")

#: Words of an older vocabulary, each with the field's term.
OLD_WORDS = {
    "taught": "trained on",
    "planted": "injected",
    "strange": "anomalous",
    "strangest": "most anomalous",
    "redrawn": "reconstructed",
    "twin": "embedded server",
    "nobody": "not asked",
    "told": "reported",
    "tells": "reports",
    "beyond the noise": "statistically significant",
    "more than noise": "statistically significant",
    "the way in": "preprocessing",
    "too shy": "under-confident",
    "too sure": "over-confident",
}


@pytest.mark.parametrize("old", OLD_WORDS)
def test_pages_use_the_terms_of_the_field(old: str) -> None:
    pages = [page for page in DOCS.rglob("[!_]*.md") if "_build" not in page.parts and page.name != "commands.md"]
    pages += [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for page in pages:
        # Fenced blocks and names in backticks are code.
        text = re.sub(r"^(```+).*?^\1|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found = re.search(rf"\b{old}\b", text, re.IGNORECASE)
        assert not found, f"{page}: '{old}'; write '{OLD_WORDS[old]}'"
