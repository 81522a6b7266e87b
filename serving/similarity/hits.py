"""The hits of a search as files: a table, and a page with pictures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from morph.atomic import atomic
from morph.checks import check_file
from morph.errors import InputError
from morph.reports.html import data_url, jpeg, render
from morph.stamps.stretch import to_pictures
from serving.client.pictures import Picture
from serving.scores.schema import astropy_metadata, widths
from serving.scores.score_files import astropy_table
from serving.similarity.examples import Example, Query
from serving.similarity.index import Index
from serving.similarity.rows import for_people
from serving.similarity.tile_pictures import TilePictures

#: The endings of tables.
ENDINGS = (".parquet", ".fits", ".csv")
#: Hits that a page shows at most: each picture takes 4 kB.
SHOWN = 500


def check_table(path: Path) -> None:
    """InputError unless a table can be written at `path`."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--to {path} should end in one of {', '.join(ENDINGS)}, which decides the format.")
    check_file(path)


def write_table(hits: pa.Table, path: Path, about: dict[str, Any]) -> None:
    """Write hits, atomically; pictures and HEALPix numbers are left out.

    Parameters
    ----------
    hits : as `Index.search` returns them.
    path : ends in one of `ENDINGS`.
    about : how they were found.
    """
    kept = [f.name for f in hits.schema if not pa.types.is_binary(f.type) and not f.name.startswith("_")]
    table = hits.select(kept)
    with atomic(path) as building:
        if path.suffix.lower() == ".parquet":
            words = astropy_metadata(table.schema, widths(table), about)
            pq.write_table(table.replace_schema_metadata(words), building, compression="zstd")
            return
        format_ = path.suffix.lower()[1:]
        # FITS headers hold no dictionaries; a card is ASCII and of limited length.
        meta = {key.upper()[:8]: _card(value) for key, value in about.items()} if format_ == "fits" else {}
        astropy_table(table, meta).write(building, format=format_)


def _card(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value).encode("ascii", "replace").decode()[:60]


@dataclass(frozen=True)
class Asked:
    """What was asked: the examples, and the conditions."""

    like: Sequence[Example]
    unlike: Sequence[Example] = ()
    where: str | None = None
    cone: tuple[float, float, float] | None = None

    def about(self, index: Index) -> dict[str, Any]:
        """For the header of a table."""
        document = {
            "index": index.folder.name,
            "model": str(index.header.model),
            "like": ", ".join(example.name for example in self.like),
            "unlike": ", ".join(example.name for example in self.unlike),
            "where": self.where or "",
            "cone": "" if self.cone is None else ",".join(f"{value:g}" for value in self.cone),
        }
        return {key: value for key, value in document.items() if value}


def write_page(
    path: Path, index: Index, hits: pa.Table, asked: Asked, query: Query, tiles: Sequence[str | Path] = ()
) -> None:
    """Write a page of hits with their pictures, atomically.

    Parameters
    ----------
    path : of the page.
    index : that was searched.
    hits : as `Index.search` returns them; up to `SHOWN` are shown.
    asked : what was asked; query : the examples as they were found.
    tiles : files, folders or globs of tiles that pictures are cut from; without, galaxies are shown by the pictures
        that the index has.
    """
    pictures = TilePictures(tiles)
    shown = hits.slice(0, SHOWN)
    pictures.add_rows(shown)
    cards = []
    for number, row in enumerate(for_people(shown), 1):
        file = pictures.by_id(index, row["id"])
        cards.append({**row, "rank": number, "source": data_url("jpeg", file) if file else "", "facts": _facts(row)})
    text = render(
        "hits.html",
        title=f"Galaxies like {_named([example.name for example in asked.like])}",
        examples=[*_of_images(query.pictures), *_of_galaxies(index, pictures, query, asked)],
        asked=list(_conditions(index, asked)),
        hits=cards,
        found=f"{len(hits):,}",
        left=f"{len(hits) - len(shown):,}" if len(hits) > len(shown) else "",
        without=sum(not card["source"] for card in cards),
        galaxies=f"{len(index):,}",
        model=str(index.header.model),
    )
    with atomic(path) as building:
        building.write_text(text, encoding="utf-8")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _facts(row: dict[str, Any]) -> str:
    """Similarity, magnitude and redshift in a line."""
    measured = row["measured"]
    shown = [f"{row.get('similarity') or 0:.3f}"]
    if measured.get("mag_r") is not None:
        shown.append(f"r {measured['mag_r']:.1f}")
    if measured.get("redshift") is not None:
        shown.append(f"z {measured['redshift']:.3f}")
    return " · ".join(shown)


def _of_images(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    found = []
    for picture in pictures:
        pixels = to_pictures(picture.image[None])[0]
        upright = pixels if picture.image.dtype == np.uint8 else pixels[::-1]
        found.append({"id": Path(picture.id).name, "picture": jpeg(upright, 120), "caption": "image"})
    return found


def _of_galaxies(index: Index, pictures: TilePictures, query: Query, asked: Asked) -> list[dict[str, Any]]:
    found, unlike = [], {example.text for example in asked.unlike}
    for name in query.exclude:
        # An image's place is no name.
        if isinstance(name, str) and (file := pictures.by_id(index, name)):
            picture = jpeg(np.asarray(Image.open(io.BytesIO(file))))
            found.append({"id": name, "picture": picture, "caption": "unlike" if name in unlike else "example"})
    return found


def _conditions(index: Index, asked: Asked) -> list[tuple[str, str]]:
    shown = asked.about(index)
    found = [("index", f"{index.folder.name}: {len(index):,} galaxies of {', '.join(index.surveys) or 'a survey'}")]
    found += [(key, shown[key]) for key in ("like", "unlike") if key in shown]
    if asked.where:
        found.append(("where", asked.where))
    if asked.cone:
        found.append(("within", f"{asked.cone[2]:g} degrees of {asked.cone[0]:g}, {asked.cone[1]:g}"))
    return found
