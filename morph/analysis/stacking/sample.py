"""Which galaxies are stacked: rows of score files or another table, with what a stack needs to know of each."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from morph.analysis.census.redshifts import Redshifts
from morph.catalogs.base import TableFile
from morph.catalogs.column_mapping import (
    TILE_COLUMNS,
    ColumnMapping,
    map_columns,
    radii,
)
from morph.catalogs.row_filter import Selection
from morph.catalogs.tables import open_tables
from morph.catalogs.values import arcsec_per_kpc, degrees, identifiers, measured, numbers, texts
from morph.console import counted
from morph.errors import InputError
from morph.surveys import UNKNOWN, get_survey

#: The column with the calibrated probability that a galaxy is smooth.
SMOOTH = "smooth_or_featured_smooth"
#: Galaxies above this probability are cut out too, whatever the selection says about it, for the check of the types.
LEAST_SMOOTH = 0.5
#: Fewer galaxies are no stack.
FEWEST = 10
#: Column of the position angle, degrees east of north.
ANGLES = ("position_angle", "pa", "theta_sky")


@dataclass(frozen=True)
class Sample:
    """Galaxies to be cut out; what is not known is NaN.

    Attributes
    ----------
    ids, tiles : str [n]; the tile is empty where the table has none.
    ra, dec : degrees.
    unit : what one unit of the radius is on the sky, arcsec: the galaxy's half-light radius, or a kpc.
    radius : half-light radius, arcsec.
    angle : position angle, degrees east of north; 0 unless galaxies are aligned.
    smooth : calibrated probability that it is smooth.
    chosen : bool [n], whether the selection has it; the others serve the check of the types.
    redshift : as the table has it.
    """

    ids: np.ndarray
    tiles: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    unit: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    smooth: np.ndarray
    chosen: np.ndarray
    redshift: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def of_smooth(self) -> bool:
        """Whether the selection is one of smooth galaxies: all have probabilities of it, above `LEAST_SMOOTH`."""
        return bool((self.smooth[self.chosen] > LEAST_SMOOTH).all()) and bool(np.isfinite(self.smooth).all())

    def select(self, rows: np.ndarray) -> "Sample":
        """Some of the rows, by number or as bool [n]."""
        return Sample(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


@dataclass(frozen=True)
class Chosen:
    """A sample, and where it comes from.

    Attributes
    ----------
    survey : of the scores; empty where the table does not say it.
    models : the models that gave the scores, with their versions.
    notes : what was assumed or left out, one sentence each.
    """

    sample: Sample
    survey: str
    models: tuple[str, ...]
    notes: tuple[str, ...]


def choose(
    scores: str | Path, where: str, scale: str = "radius", align: bool = False, redshifts: str | Path | None = None
) -> Chosen:
    """The galaxies of a table that pass a selection.

    Parameters
    ----------
    scores : a folder of score files, or any table that `morph` reads.
    where : which rows, in the language of `morph.catalogs.row_filter.Selection`; all where it is empty.
    scale : "radius", by the half-light radius, or "kpc", by the redshift.
    align : whether galaxies are turned by their position angles.
    redshifts : a table of ids and redshifts for those that have none in `scores`.

    Raises
    ------
    InputError : no table, column or selection of this kind; fewer than `FEWEST` galaxies pass.
    """
    if scale not in ("radius", "kpc"):
        raise InputError(f"--scale is '{scale}'; use radius or kpc.")
    known = Redshifts(redshifts) if redshifts else None
    about = _provenance(Path(scores))
    surveys = list(dict.fromkeys(each["survey"] for each in about if each.get("survey")))
    if len(surveys) > 1:
        raise InputError(f"The scores are of several surveys ({', '.join(surveys)}); stack each by itself.")
    parts: list[Sample] = []
    notes: dict[str, None] = {}
    for table in open_tables(scores):
        reader = _Reader(table, where, scale, align, known, surveys[0] if surveys else UNKNOWN.name)
        parts.extend(reader.parts())
        notes |= dict.fromkeys(reader.notes)
    whole = Sample(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Sample)})
    sample = whole.select(_usable(whole, notes))
    if not sample.of_smooth:
        sample = sample.select(sample.chosen)
    passing = int(sample.chosen.sum())
    if passing < FEWEST:
        lost = f" ({'; '.join(note.rstrip('.') for note in notes)})" if notes and not passing else ""
        those = f"--where '{where}'" if where.strip() else "by position and size"
        raise InputError(
            f"{counted(passing, 'galaxy passes', 'galaxies pass')} {those}{lost}; a stack needs at least {FEWEST}, so "
            "choose more."
        )
    models = dict.fromkeys(f"{a['model']} {a.get('model_version', '')}".strip() for a in about if a.get("model"))
    for each in about:
        trained = each.get("model_survey")
        if surveys and trained and trained != surveys[0]:
            notes[
                f"The model was calibrated on {trained} and not on {surveys[0]}: its probabilities, and with them the "
                "correction for wrong types, may be off."
            ] = None
    return Chosen(sample, surveys[0] if surveys else "", tuple(models), tuple(notes))


def _provenance(path: Path) -> list[dict[str, Any]]:
    """What score files say of themselves, each once; nothing for other tables."""
    files = [path] if path.is_file() else sorted(path.glob("*.parquet")) if path.is_dir() else []
    found = {}
    for file in files:
        try:
            metadata = pq.read_schema(file).metadata or {}
            about = json.loads(metadata.get(b"morph", b"{}"))
        except (pa.ArrowException, ValueError, OSError):
            continue  # reading the table reports what is wrong
        kept = {name: about.get(name) for name in ("survey", "model", "model_version", "model_survey")}
        found[json.dumps(kept)] = kept
    return list(found.values())


def _usable(sample: Sample, notes: dict[str, None]) -> np.ndarray:
    """Rows with all that is needed; the others are counted in `notes`."""
    usable = np.ones(len(sample), dtype=bool)
    for what, good in (
        ("no position", np.isfinite(sample.ra) & np.isfinite(sample.dec)),
        ("no half-light radius", np.isfinite(sample.radius) & (sample.radius > 0)),
        ("no redshift", np.isfinite(sample.unit) & (sample.unit > 0)),
        ("no position angle", np.isfinite(sample.angle)),
    ):
        lost = int((usable & ~good & sample.chosen).sum())
        if lost:
            notes[f"Left out: {counted(lost, 'galaxy', 'galaxies')} with {what}."] = None
        usable &= good
    _, first = np.unique(sample.ids.astype(str), return_index=True)
    once = np.zeros(len(sample), dtype=bool)
    once[first] = True
    if lost := int((usable & ~once & sample.chosen).sum()):
        notes[f"{counted(lost, 'galaxy is', 'galaxies are')} in the table more than once, and counted once."] = None
    return usable & once


class _Reader:
    """One table, with redshifts from another where these are given."""

    def __init__(
        self, table: TableFile, where: str, scale: str, align: bool, redshifts: Redshifts | None, survey: str
    ):
        self.table, self.scale, self.align, self.redshifts = table, scale, align, redshifts
        self.survey = get_survey(survey)
        self.mapping: ColumnMapping = map_columns(table, self.survey)
        self.notes = list(self.mapping.notes)
        there = {name.lower(): name for name in reversed(table.schema.names)}
        self.angle = next((there[name] for name in ANGLES if name in there), "")
        self.tile = next((there[name] for name in ("tile", *TILE_COLUMNS) if name in there), "")
        self.smooth = there.get(SMOOTH, "")
        self._check()
        self.schema = table.schema
        if redshifts is not None and "redshift" not in there:
            self.schema = pa.schema([*table.schema, pa.field("redshift", pa.float64())])
        name = f"'{table.path}'"
        chosen = Selection(where) if where.strip() else None
        self.where = chosen.of(self.schema, name) if chosen else None
        wide = chosen.replacing(SMOOTH, f"{SMOOTH} > {LEAST_SMOOTH}") if chosen and self.smooth else chosen
        self.wide = wide.of(self.schema, name) if wide else None

    def _check(self) -> None:
        if self.mapping.ra is None or self.mapping.dec is None:
            raise InputError(f"'{self.table.path}' has no positions on the sky; columns ra and dec are needed.")
        if "radius" not in self.mapping.values:
            raise InputError(f"'{self.table.path}' has no half-light radius; give a column 'radius' in arcsec.")
        if self.align and not self.angle:
            raise InputError(f"'{self.table.path}' has no column position_angle; stack it without --align.")
        if self.scale == "kpc" and "redshift" not in self.mapping.values and self.redshifts is None:
            raise InputError(
                f"'{self.table.path}' has no column redshift, which --scale kpc needs; name a table with id and "
                "redshift by --redshifts, or use --scale radius."
            )

    def parts(self) -> list[Sample]:
        """The rows of the wider selection, some at a time."""
        conditions = [*(self.where.columns if self.where else ()), *(self.wide.columns if self.wide else ())]
        named = [*self.mapping.columns, self.angle if self.align else "", self.tile, self.smooth, *conditions]
        columns = [name for name in dict.fromkeys(named) if name and name in self.table.schema.names]
        found = []
        for rows in self.table.batches(columns):
            rows = self._with_redshifts(rows)
            inside = rows if self.where is None else rows.append_column("_chosen", _holds(rows, self.where.value))
            if self.where is not None and self.wide is not None:
                inside = inside.filter(self.wide.value | pc.field("_chosen"))
            found.append(self._sample(inside))
        return found

    def _with_redshifts(self, rows: pa.Table) -> pa.Table:
        if self.redshifts is None or not self.mapping.id:
            return rows
        found = pa.array(self.redshifts.of(rows[self.mapping.id[0]]), pa.float64())
        if "redshift" in rows.column_names:
            return rows.set_column(rows.column_names.index("redshift"), "redshift", found)
        return rows.append_column("redshift", found)

    def _sample(self, rows: pa.Table) -> Sample:
        count, values = len(rows), self.mapping.values
        unknown = np.full(count, np.nan)
        redshift = unknown
        if "redshift" in values and self.redshifts is None:
            redshift, _ = measured(rows[values["redshift"].column], values["redshift"])
        elif "redshift" in rows.column_names:
            redshift = numbers(rows["redshift"])
        radius = radii(rows, values["radius"], self.survey, redshift)
        assert self.mapping.ra is not None
        assert self.mapping.dec is not None
        names = identifiers(rows[self.mapping.id[0]]).to_pylist() if self.mapping.id else None
        ra, dec = (degrees(rows[each.column], each) for each in (self.mapping.ra, self.mapping.dec))
        ids = names or [f"{a:.6f}{d:+.6f}" for a, d in zip(ra, dec, strict=True)]
        tiles = texts(rows[self.tile]).to_pylist() if self.tile else [""] * count
        return Sample(
            ids=np.array(ids, dtype=object),
            tiles=np.array([tile or "" for tile in tiles], dtype=object),
            ra=ra,
            dec=dec,
            unit=arcsec_per_kpc(redshift) if self.scale == "kpc" else radius,
            radius=radius,
            angle=numbers(rows[self.angle]) if self.align else np.zeros(count),
            smooth=numbers(rows[self.smooth]) if self.smooth else unknown,
            chosen=np.asarray(rows["_chosen"]) if "_chosen" in rows.column_names else np.ones(count, dtype=bool),
            redshift=np.asarray(redshift, dtype=float),
        )


def _holds(rows: pa.Table, condition: pc.Expression) -> pa.Array:
    """Whether a condition holds in each row; a missing value is no."""
    numbered = rows.append_column("_row", pa.array(np.arange(len(rows))))
    kept = numbered.filter(condition)["_row"].to_numpy()
    holds = np.zeros(len(rows), dtype=bool)
    holds[kept] = True
    return pa.array(holds)
