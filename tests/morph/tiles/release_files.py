"""Small files with the names, extensions, headers and units of surveys' releases, of one source of known magnitude."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SIZE = 64
#: The source's place and width, pixels, and its AB magnitude in every band.
PLACE, SIGMA, MAGNITUDE = (30.0, 34.0), 3.0, 18.0
#: Pixels (row, column) that are saturated, have no data, or were interpolated, in the surveys that mark them.
SATURATED, NO_DATA, INTERPOLATED = (50, 10), (5, 6), (20, 40)
#: Standard deviation of the noise in units of the source's flux.
NOISE = 1e-5


def sky(scale: float) -> fits.Header:
    """Sky coordinates of pixels of so many arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [SIZE / 2, SIZE / 2]
    wcs.wcs.cd = np.diag([-scale / 3600, scale / 3600])
    return wcs.to_header()


def source(zero_point: float) -> tuple[np.ndarray, float]:
    """An image of the source where one count has the magnitude `zero_point`, float32, and its noise."""
    rows, columns = np.indices((SIZE, SIZE))
    flux = 10 ** ((zero_point - MAGNITUDE) / 2.5)
    away = np.hypot(columns - PLACE[0], rows - PLACE[1])
    image = flux * np.exp(-(away**2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    noise = NOISE * flux
    return (image + np.random.default_rng(1).normal(0, noise, image.shape)).astype("float32"), noise


def packed(pixels: np.ndarray, header: fits.Header, name: str = "") -> fits.CompImageHDU:
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0} if pixels.dtype.kind == "f" else {}
    return fits.CompImageHDU(pixels, header, name=name or None, **lossless)


def write_lsst(
    path: Path, zero_point: float, scale: float, primary: Mapping, unit: str | None = None, data_preview: int = 1
) -> None:
    """A coadd of Rubin's pipeline; from Data Preview 2 on the header names a mask's bits in another way."""
    image, noise = source(zero_point)
    image[NO_DATA] = np.nan
    header = sky(scale)
    header.update({"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRPIX1A": 1.0, "CRPIX2A": 1.0, "LTV1": -12000.0})
    header.update({"CRVAL1A": 12000.0, "CRVAL2A": 8000.0})
    mask = np.where(image > 5 * noise, 1 << 5, 0).astype("int32")
    mask[SATURATED] |= 1 << 1
    mask[NO_DATA] |= 1 << 8
    mask[INTERPOLATED] |= 1 << 2
    described = header.copy()
    if data_preview == 1:
        described.update(
            {"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8}
        )
    else:
        for bit, name in {1: "SATURATED", 2: "INTERPOLATED", 5: "DETECTED", 8: "NO_DATA"}.items():
            described.update({f"MSKN{bit:04d}": name, f"MSKM{bit:04d}": 1 << bit})
    if unit:
        header["BUNIT"] = unit
    variance = np.full(image.shape, noise**2, "float32")
    hdus = [fits.PrimaryHDU(header=fits.Header(primary)), packed(image, header, "IMAGE")]
    hdus += [packed(mask, described, "MASK"), packed(variance, sky(scale), "VARIANCE")]
    fits.HDUList(hdus).writeto(path)


def write_hsc(folder: Path, bands: str = "GRI") -> None:
    for band in bands:
        own = folder / f"HSC-{band}" / "9813" / "4,4"
        own.mkdir(parents=True)
        primary = {"FILTER": f"HSC-{band}", "FLUXMAG0": 63095734448.0194}
        write_lsst(own / f"calexp-HSC-{band}-9813-4,4.fits", 27.0, 0.168, primary)
        (own / f"det-HSC-{band}-9813-4,4.fits").write_bytes(b"detections")


def write_dp1(folder: Path, filters: bool = False) -> None:
    for band, name in {"g": "g_01", "r": "r_03", "i": "i_06"}.items():
        path = folder / f"deep_coadd_10463_52_{band}_lsst_cells_v1_LSSTComCam_runs_DRP_DP1_DM-50260.fits"
        write_lsst(path, 31.4, 0.2, {"FILTER": name} if filters else {}, "nJy")
    (folder / "deep_coadd_n_image_10463_52_r_lsst_cells_v1.fits").write_bytes(b"numbers of exposures")


def write_dp2_renamed(folder: Path) -> None:
    for name, band in {"first": "g", "second": "r", "third": "i"}.items():
        primary = {"HIERARCH LSST BUTLER DATAID BAND": band, "HIERARCH LSST BUTLER DATAID TRACT": 7032}
        primary["HIERARCH LSST BUTLER DATAID PATCH"] = 80
        write_lsst(folder / f"{name}.fits", 31.4, 0.2, primary, "nJy", data_preview=2)


EUCLID = "TILE102018211-ACBD03_20241018T142710.276838Z_00.00.fits"


def write_euclid(folder: Path) -> None:
    """VIS with its errors and flags, Y, and the ground's g and i."""
    for name, zero_point in {"VIS": 24.6, "NIR-Y": 29.8, "DES-G": 30.0, "DES-I": 30.0}.items():
        image, noise = source(zero_point)
        header = sky(0.1)
        header.update({"MAGZERO": zero_point, "TELESCOP": "EUCLID", "BUNIT": "adu", "TILEID": 102018211})
        fits.PrimaryHDU(image, header).writeto(folder / f"EUC_MER_BGSUB-MOSAIC-{name}_{EUCLID}")
        if name == "VIS":
            flags = np.zeros(image.shape, "int32")
            flags[SATURATED], flags[NO_DATA], flags[INTERPOLATED] = 8, 1, 16
            fits.PrimaryHDU(flags, sky(0.1)).writeto(folder / f"EUC_MER_MOSAIC-VIS-FLAG_{EUCLID}")
            fits.PrimaryHDU(np.full(image.shape, noise, "float32"), sky(0.1)).writeto(
                folder / f"EUC_MER_MOSAIC-VIS-RMS_{EUCLID}"
            )
    (folder / f"EUC_MER_BGMOD-VIS_{EUCLID}").write_bytes(b"the sky that was taken off")


def _asinh(pixels: np.ndarray, offset: float, soften: float) -> np.ndarray:
    return (2.5 / np.log(10) * np.arcsinh((pixels - offset) / (2 * soften))).astype("float32")


def write_panstarrs(folder: Path, renamed: bool = False) -> None:
    """Stacks in asinh magnitudes, their variances likewise, and masks whose headers name their bits."""
    seconds = 700.0
    for band in "gri":
        image, noise = source(25 + 2.5 * np.log10(seconds))
        header = sky(0.25)
        for key in [key for key in header if key.startswith("PC")]:
            del header[key]
        header.update({"CDELT1": 0.25 / 3600, "CDELT2": 0.25 / 3600, "PC001001": -1.0, "PC001002": 0.0})
        header.update({"PC002001": 0.0, "PC002002": 1.0, "EXPTIME": seconds, "HIERARCH FPA.ZP": 25.0})
        header.update({"HIERARCH FPA.FILTER": f"{band}.00000", "HIERARCH FPA.INSTRUMENT": "GPC1"})
        mask = np.zeros(image.shape, "int16")
        mask[SATURATED], mask[NO_DATA], mask[INTERPOLATED] = 32, 8, 16384
        described = fits.Header({"MSKNAM00": "SAT", "MSKVAL00": 32, "MSKNAM01": "MASK.VALUE", "MSKVAL01": 8575})
        scaled = {"BOFFSET": 2.5 * noise, "BSOFTEN": 3 * noise}
        image[SATURATED] = 0
        variance = np.full(image.shape, noise**2)
        name = f"skycell.1495.042_{band}" if renamed else f"rings.v3.skycell.1495.042.stk.{band}.unconv"
        header.update(scaled)
        fits.HDUList([fits.PrimaryHDU(), packed(_asinh(image, *scaled.values()), header)]).writeto(
            folder / f"{name}.fits"
        )
        if not renamed:
            fits.HDUList([fits.PrimaryHDU(), packed(mask, described)]).writeto(folder / f"{name}.mask.fits")
            softened = fits.Header({"BOFFSET": 0.0, "BSOFTEN": noise**2})
            fits.HDUList([fits.PrimaryHDU(), packed(_asinh(variance, 0.0, noise**2), softened)]).writeto(
                folder / f"{name}.wt.fits"
            )
            fits.PrimaryHDU(np.ones((4, 4), "int16")).writeto(folder / f"{name}.num.fits")


def write_kids(folder: Path) -> None:
    for band in "gri":
        image, noise = source(0.0)
        image[NO_DATA] = 0
        header = sky(0.2)
        header.update(
            {"ZEROPNT": 0.0, "INSTRUME": "OMEGACAM", "OBJECT": "KIDS_150.1_2.2", "FILT_ID": f"OCAM_{band}_SDSS"}
        )
        fits.PrimaryHDU(image, header).writeto(folder / f"KiDS_DR4.0_150.1_2.2_{band}_sci.fits")
        weight = np.full(image.shape, noise**-2, "float32")
        weight[NO_DATA] = 0
        fits.PrimaryHDU(weight, sky(0.2)).writeto(folder / f"KiDS_DR4.0_150.1_2.2_{band}_wei.fits")


def write_cfhtls(folder: Path) -> None:
    for band, name in {"g": "g.MP9401", "r": "r.MP9601", "i": "i.MP9702"}.items():
        header = sky(0.186)
        header.update({"MZP_AB": 30.0, "MZP_VEGA": 29.7, "FILTER": name, "TELESCOP": "CFHT 3.6m"})
        path = folder / f"CFHTLS_W_{band}_100024+021200_T0007_MEDIAN.fits"
        fits.PrimaryHDU(source(30.0)[0], header).writeto(path)


def write_webb(path: Path, band: str = "F150W") -> None:
    """A mosaic in MJy/sr with its errors."""
    scale = 0.06
    area = np.radians(scale / 3600) ** 2
    image, noise = source(8.9 - 2.5 * np.log10(1e6 * area))
    header = sky(scale)
    header.update({"BUNIT": "MJy/sr", "PIXAR_SR": area})
    errors = np.full(image.shape, noise, "float32")
    errors[NO_DATA] = np.nan
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "FILTER": band, "PUPIL": "CLEAR"}))
    fits.HDUList([primary, fits.ImageHDU(image, header, "SCI"), fits.ImageHDU(errors, header, "ERR")]).writeto(path)


def write_hubble(path: Path, unit: str = "ELECTRONS/S") -> None:
    """A drizzled image of ACS: counts a second, or over the exposure."""
    flam, plam, seconds = 7.0331885e-20, 8045.0, 2028.0
    zero_point = -2.5 * np.log10(flam) - 5 * np.log10(plam) - 2.408
    image, _ = source(zero_point if unit.endswith("/S") else zero_point + 2.5 * np.log10(seconds))
    header = sky(0.05)
    header["BUNIT"] = unit
    primary = {"TELESCOP": "HST", "FILTER1": "CLEAR1L", "FILTER2": "F814W", "EXPTIME": seconds}
    header.update({"PHOTFLAM": flam, "PHOTPLAM": plam})
    weight = fits.ImageHDU(np.full(image.shape, seconds, "float32"), header, "WHT")
    hdus = [fits.PrimaryHDU(header=fits.Header(primary)), fits.ImageHDU(image, header, "SCI"), weight]
    fits.HDUList(hdus).writeto(path)
