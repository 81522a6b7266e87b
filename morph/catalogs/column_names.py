"""What surveys and catalogues call their columns: the one table of names, in lower case and best first.

Names are compared whatever their case.
"""

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
    return (
        f"mag_{band}",
        f"mag_auto_{band}",
        f"mag_auto_{band}_dered",
        f"petromag_{band}",
        f"modelmag_{band}",
    )


MAGNITUDE_COLUMNS = {f"mag_{band}": magnitude_columns(band) for band in "gri"}

#: Redshifts from spectra, and those guessed from colours.
SPECTRUM_COLUMNS = ("redshift", "zspec", "z_spec", "specz")
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
