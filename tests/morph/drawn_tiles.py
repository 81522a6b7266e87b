"""A small tile in the layout of the Dark Energy Survey, with galaxies whose light is known."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SIZE = 240
SCALE = 0.263
ZERO_POINT = 30.0
COUNTS = 10 ** ((ZERO_POINT - 22.5) / 2.5)  # of one nanomaggy
NOISE = {"g": 2.0, "r": 3.0, "i": 5.0}

#: x, y, sigma (pixels) and flux (nanomaggies in r) of round Gaussian galaxies.
GALAXIES = [(120.0, 120.0, 5.0, 60.0), (60.3, 170.6, 4.0, 30.0), (180.0, 60.0, 6.0, 90.0), (6.0, 100.0, 5.0, 60.0)]
#: Flux in each band over that in r.
COLOUR = {"g": 0.5, "r": 1.0, "i": 1.4}
#: Half-light radius of a Gaussian over its sigma.
HALF_LIGHT = np.sqrt(2 * np.log(2))


def sky_of(tilename: str = "DES0356-5248") -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [59.09, -52.811]
    wcs.wcs.crpix = [(SIZE + 1) / 2, (SIZE + 1) / 2]
    wcs.wcs.cd = np.diag([-SCALE / 3600, SCALE / 3600])
    header = wcs.to_header()
    header["TILENAME"] = tilename
    return header


def counts_of(band: str, galaxies=GALAXIES, seed: int = 0) -> np.ndarray:
    """An image of `galaxies` with the band's noise: float32 [SIZE, SIZE], counts."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.random.default_rng([seed, ord(band)]).normal(0, NOISE[band], (SIZE, SIZE))
    for x0, y0, sigma, flux in galaxies:
        profile = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        image += COUNTS * COLOUR[band] * flux * profile
    return image.astype("float32")


def write_band(
    folder: Path,
    band: str,
    name: str = "DES0356-5248_r4163p01",
    packed: bool = False,
    mask: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    galaxies=GALAXIES,
    extnames: bool = True,
    **header,
) -> Path:
    """One band's file: SCI, MSK and WGT planes, fpacked or not."""
    keywords = sky_of()
    keywords.update({"BAND": band, "MAGZERO": ZERO_POINT, "SATURATE": 25000.0, **header})
    for key in [key for key, value in header.items() if value is None]:
        del keywords[key]
    planes = {
        "SCI": counts_of(band, galaxies),
        "MSK": np.zeros((SIZE, SIZE), "int32") if mask is None else mask.astype("int32"),
        "WGT": np.full((SIZE, SIZE), NOISE[band] ** -2, "float32") if weight is None else weight,
    }
    path = folder / f"{name}_{band}.fits{'.fz' if packed else ''}"
    if packed:
        hdus = [fits.PrimaryHDU()]
        for plane, pixels in planes.items():
            quantised = {} if pixels.dtype.kind == "i" else {"quantize_level": 16.0}
            hdus.append(fits.CompImageHDU(pixels, keywords, name=plane, compression_type="RICE_1", **quantised))
    else:
        hdus = [(fits.ImageHDU if i else fits.PrimaryHDU)(p, keywords) for i, p in enumerate(planes.values())]
        if extnames:
            for hdu, plane in zip(hdus, planes, strict=True):
                hdu.name = plane
    fits.HDUList(hdus).writeto(path)
    return path


def write_tile(folder: Path, bands: str = "gri", **options) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [write_band(folder, band, **options) for band in bands]
