"""Which columns of a table hold what a catalogue of galaxies needs, by the names that surveys give them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from morph.catalogs.base import TableFile, is_nameless, is_text
from morph.catalogs.values import Quantity, arcsec_per_kpc, as_quantity, numbers
from morph.errors import InputError
from morph.stamps.photometry import point_source_radius
from morph.surveys import Survey

#: How many of a table's own columns a message lists.
LISTED = 12

#: What the three channels' magnitudes are called here, whatever the survey's bands are.
CHANNEL_MAGNITUDES = ("mag_g", "mag_r", "mag_i")


@dataclass(frozen=True)
class ColumnMapping:
    """The columns of one table; an empty string or None where there is none.

    Attributes
    ----------
    id : the columns that together name a galaxy; `id_column` is the one that counts within its file.
    ra, dec : positions; where there are none, `x` and `y` hold SExtractor's pixels.
    values : radius, magnitudes and redshift, by their names here.
    primary : whether a row lies in its brick's own area.
    notes : how columns are read, where that is unusual; one sentence each.
    """

    id: tuple[str, ...] = ()
    ra: Quantity | None = None
    dec: Quantity | None = None
    x: str = ""
    y: str = ""
    tilename: str = ""
    primary: str = ""
    values: dict[str, Quantity] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """All that is to be read, each once."""
        quantities = [q for q in (self.ra, self.dec, *self.values.values()) if q is not None]
        named = [*self.id, self.x, self.y, self.tilename, self.primary, *(q.column for q in quantities)]
        return list(dict.fromkeys(name for name in named if name))

    @property
    def radius_column(self) -> str:
        return self.values["radius"].column if "radius" in self.values else ""


def map_columns(table: TableFile, survey: Survey) -> ColumnMapping:
    """The columns of a table by their usual names, whatever their case.

    Raises InputError when there is no right ascension or no declination, and no SExtractor pixels instead.
    """
    names = table.schema.names
    there = {name.lower(): name for name in reversed(names)}

    def first(wanted: Iterable[str]) -> str:
        return next((there[name] for name in wanted if name in there), "")

    def quantity(wanted: Iterable[str], kind: str) -> Quantity | None:
        column = first(wanted)
        return as_quantity(column, kind, table.units.get(column), str(table.path)) if column else None

    ra = quantity((table.mapping.get("ra", "").lower(), *RA_COLUMNS), "right ascension")
    dec = quantity((table.mapping.get("dec", "").lower(), *DEC_COLUMNS), "declination")
    x, y = first(X_COLUMNS), first(Y_COLUMNS)
    if ra is None and dec is None and x and y:
        places = {"x": x, "y": y}
    elif ra is None:
        raise _missing(table, RA_COLUMNS, "right ascension")
    elif dec is None:
        raise _missing(table, DEC_COLUMNS, "declination")
    else:
        places = {}
    values = {
        "redshift": quantity((*SPECTRUM_COLUMNS, *PHOTOZ_COLUMNS), "redshift"),
        "radius": quantity(ARCSEC_COLUMNS, "radius")
        or quantity(PIXEL_COLUMNS, "radius in pixels")
        or quantity(INTRINSIC_COLUMNS, "radius before seeing"),
    }
    for name, band in zip(CHANNEL_MAGNITUDES, survey.bands, strict=True):
        bands = dict.fromkeys((band, name[-1]))
        values[name] = quantity((column for each in bands for column in magnitude_columns(each)), "magnitude")
        in_nanomaggies = "nanomagg" in table.units.get(first([f"flux_{band}"]), "")
        if values[name] is None and (first(BRICK_COLUMNS) or in_nanomaggies):
            values[name] = quantity([f"flux_{band}"], "flux")
    notes = _sizes(values, survey)
    return ColumnMapping(
        id=id_columns(table.schema),
        ra=ra,
        dec=dec,
        tilename=first(TILE_COLUMNS),
        primary=first(PRIMARY_COLUMNS),
        values={name: value for name, value in values.items() if value is not None},
        notes=notes,
        **places,
    )


def _sizes(values: dict[str, Quantity | None], survey: Survey) -> tuple[str, ...]:
    """Notes on sizes that are not angles; those that cannot be converted are left out."""
    radius = values["radius"]
    if radius is None:
        return ()
    if radius.size == "kpc":
        return _physical_sizes(values, radius)
    if radius.size == "pixels" and not np.isfinite(survey.pixel_scale):
        return (
            f"The sizes in '{radius.column}' (pixels) are taken as those of the images, since no survey is named.",
        )
    if radius.kind == "radius before seeing" and not np.isfinite(point_source_radius(survey)):
        values["radius"] = None
        return (
            f"The sizes in '{radius.column}' (before seeing) are not used: no survey is named whose seeing to add.",
        )
    return ()


def _physical_sizes(values: dict[str, Quantity | None], radius: Quantity) -> tuple[str, ...]:
    """A note on sizes in kpc, which are converted where there are redshifts and left out elsewhere."""
    redshift = values["redshift"]
    if redshift is None:
        values["radius"] = None
        return (f"The sizes in '{radius.column}' (kpc) are not used: there are no redshifts to convert them by.",)
    return (
        f"The sizes in '{radius.column}' (kpc) were converted by the redshifts in '{redshift.column}' and Planck18.",
    )


def id_columns(schema: pa.Schema) -> tuple[str, ...]:
    """The columns of a table that together name a galaxy, by their usual names; none where there are none."""
    there = {name.lower(): name for name in reversed(schema.names)}
    for name in ("id", *ID_COLUMNS):
        if name in there:
            brick = next((there[b] for b in BRICK_COLUMNS if b in there), None)
            return (brick, there[name]) if brick and name in BRICK_ID_COLUMNS else (there[name],)
    # An index of text names the rows; one of numbers counts them.
    nameless = (f.name for f in schema if is_nameless(f.name) and is_text(f.type))
    return tuple(nameless)[:1]


def _missing(table: TableFile, wanted: tuple[str, ...], what: str) -> InputError:
    names = table.schema.names
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return InputError(
        f"The catalogue '{table.path}' has no column with the {what}: looked for {', '.join(wanted)}; "
        f"there are {', '.join(names[:LISTED])}{more}. Rename the one that holds it."
    )


def radii(rows: pa.Table, quantity: Quantity, survey: Survey, redshift: np.ndarray) -> np.ndarray:
    """Observed half-light radii.

    Parameters
    ----------
    rows : of the catalogue.
    quantity : the column of sizes, and its unit.
    survey : whose pixel scale converts pixels, and whose seeing is added to sizes without it.
    redshift : [n], which converts kpc.

    Returns
    -------
    float64 [n], arcsec, NaN where there is none.
    """
    radius = numbers(rows[quantity.column]) * quantity.factor
    intrinsic = quantity.kind == "radius before seeing"
    if quantity.size == "pixels":
        radius = radius * survey.pixel_scale
    elif quantity.size == "kpc":
        radius = radius * arcsec_per_kpc(redshift)
    # A model of size 0 is a point source; elsewhere 0 means that nothing was measured.
    radius = np.where(np.isfinite(radius) & ((radius > 0) | (intrinsic & (radius == 0))), radius, np.nan)
    # Widths add in quadrature for Gaussians; for real profiles it is good to a few per cent.
    return np.hypot(radius, point_source_radius(survey)) if intrinsic else radius


#: A survey's own names of a galaxy: the same in every release, so that a split by id keeps a galaxy on one side
#: even where it stands in two datasets.
SURVEY_ID_COLUMNS = (
    "dr7objid",
    "iauname",
    "iau_name",
    "objid",
    "dr8objid",
    "coadd_object_id",
    "coadd_objects_id",
    "quick_object_id",
    "specobjid",
    "targetid",
    "source_id",
    "ls_id",
    "dr8_id",
)


#: What else names a galaxy, within one table at least.
ID_COLUMNS = (
    *SURVEY_ID_COLUMNS,
    "id_str",
    "id",
    "galaxyid",
    "galaxy_id",
    "objectid",
    "object_id",
    "obj_id",
    "name",
    "number",
)


#: Names that hold within one file alone, and those that hold within a Legacy Surveys brick.
FILE_ID_COLUMNS = ("number",)


BRICK_ID_COLUMNS = ("objid",)


BRICK_COLUMNS = ("brickname", "brickid")


#: Whether a Legacy Surveys source lies in its brick's own area and not in an overlap.
PRIMARY_COLUMNS = ("brick_primary",)


#: Columns that name a galaxy's picture.
PICTURE_COLUMNS = ("asset_id", "filename", "file")


#: Right ascension and declination in degrees: DES's windowed positions before the plain ones.
RA_COLUMNS = (
    "ra",
    "alphawin_j2000",
    "alpha_j2000",
    "raj2000",
    "_raj2000",
    "ra_icrs",
    "ra_deg",
    "coord_ra",
    "target_ra",
    "right_ascension",
)


DEC_COLUMNS = (
    "dec",
    "deltawin_j2000",
    "delta_j2000",
    "dej2000",
    "_dej2000",
    "de_icrs",
    "dec_deg",
    "coord_dec",
    "target_dec",
    "declination",
)


#: Places in SExtractor's pixels, of which the first is 1.
X_COLUMNS = ("xwin_image", "x_image")


Y_COLUMNS = ("ywin_image", "y_image")


TILE_COLUMNS = ("tilename", "tile", "brickname")


#: Half-light radii as observed: ours and other catalogues' in arcsec, SDSS's Petrosian ones too.
ARCSEC_COLUMNS = ("radius", "half_light_radius", "hlr", "r50", "petror50_r", "petror50", "radius_arcsec")


#: The same in pixels (SExtractor).
PIXEL_COLUMNS = ("flux_radius_r", "flux_radius_i", "flux_radius_g", "flux_radius", "flux_radius_detmodel")


#: Half-light radii of models before the point-spread function (Tractor), arcsec.
INTRINSIC_COLUMNS = ("shape_r",)


def magnitude_columns(band: str) -> tuple[str, ...]:
    """What a band's magnitudes are called."""
    return (f"mag_{band}", f"mag_auto_{band}", f"mag_auto_{band}_dered", f"petromag_{band}", f"modelmag_{band}")


MAGNITUDE_COLUMNS = {f"mag_{band}": magnitude_columns(band) for band in "gri"}


#: Redshifts from spectra, and those guessed from colours.
SPECTRUM_COLUMNS = ("redshift", "zspec", "z_spec", "specz", "spec_z")


PHOTOZ_COLUMNS = ("zphot", "z_phot", "photo_z", "dnf_zmean_sof")


#: All of them, by which a line is known to be a header.
KNOWN_COLUMNS = frozenset(
    (
        *ID_COLUMNS,
        *PICTURE_COLUMNS,
        *BRICK_COLUMNS,
        *RA_COLUMNS,
        *DEC_COLUMNS,
        *X_COLUMNS,
        *Y_COLUMNS,
        *TILE_COLUMNS,
        *ARCSEC_COLUMNS,
        *PIXEL_COLUMNS,
        *SPECTRUM_COLUMNS,
        *PHOTOZ_COLUMNS,
        *(name for band in "griz" for name in magnitude_columns(band)),
    )
)
