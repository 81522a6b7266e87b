"""Small simulated files with the names, HDUs and headers of the surveys' own: Legacy Surveys bricks, SDSS frames."""

import bz2
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

BRICK = 200  # pixels on a side; real bricks have 3600
BRICK_SCALE = 0.262
#: A brick's middle, and its bounds in right ascension and declination as in the survey's headers.
BRICK_CENTRE = (0.125, 0.0)
BRICK_BOUNDS = {"RAMIN": 0.0, "RAMAX": 0.25, "DECMIN": -0.125, "DECMAX": 0.125}

FRAME = (1489, 2048)
FRAME_SCALE = 0.396


def _blob(shape: tuple[int, int], x: float, y: float, sigma: float, flux: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    profile = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return flux * profile / (2 * np.pi * sigma**2)


def write_brick(folder: Path, bands: str = "grz", brick: str = "0001p000", packed: bool = True, **header) -> Path:
    """image and invvar a band, one maskbits: pixel (row 20, column 30) lacks all exposures in r, (40, 50) is saturated
    in r, (60, 70) lies near a bright star, and (80, 90) has no weight in any band. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = BRICK_CENTRE
    wcs.wcs.crpix = [BRICK / 2 + 0.5, BRICK / 2 + 0.5]
    wcs.wcs.cd = np.diag([-BRICK_SCALE / 3600, BRICK_SCALE / 3600])
    common = wcs.to_header()
    common.update({"SURVEY": "DECaLS", "BRICKNAM": brick, "BRICKID": 330368, **BRICK_BOUNDS, **header})

    def write(kind: str, pixels: np.ndarray, **more) -> None:
        header = common.copy()
        header.update({"IMTYPE": kind.partition("-")[0], **more})
        path = folder / f"legacysurvey-{brick}-{kind}.fits"
        if packed:
            path = path.with_name(path.name + ".fz")
            exact = {} if pixels.dtype.kind == "i" else {"quantize_level": -1e-4}
            hdus = [fits.PrimaryHDU(), fits.CompImageHDU(pixels, header, compression_type="RICE_1", **exact)]
        else:
            hdus = [fits.PrimaryHDU(pixels, header)]
        fits.HDUList(hdus).writeto(path)

    for band in bands:
        noise = np.random.default_rng(ord(band)).normal(0, 0.01, (BRICK, BRICK))
        image = noise + _blob((BRICK, BRICK), 120, 90, 5, 50)
        write(f"image-{band}", image.astype("float32"), FILTER=band, MAGZERO=22.5, BUNIT="nanomaggy")
        invvar = np.full((BRICK, BRICK), 1e4, "float32")
        invvar[80, 90] = 0
        write(f"invvar-{band}", invvar, FILTER=band, BUNIT="1/nanomaggy^2")
        write(f"model-{band}", image.astype("float32"), FILTER=band, MAGZERO=22.5)
    bits = np.zeros((BRICK, BRICK), "int16")
    bits[20, 30], bits[40, 50], bits[60, 70] = 1 << 6, 1 << 3, 1 << 1
    write("maskbits", bits, EXTNAME="MASKBITS")
    write("nexp-W1", bits)
    fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=[0.1])]).writeto(folder / f"tractor-{brick}.fits")
    return folder


def frame_sky(dx: float = 0.0, dy: float = 0.0, turn: float = 0.0) -> WCS:
    """An SDSS frame's sky: rows run along the scan, so that the axes are turned by nearly a right angle.

    `dx`, `dy` (pixels) and `turn` (degrees) are how far a band's grid is from the first band's.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [14.87, -0.31]
    wcs.wcs.crpix = [1025.0 + dx, 745.0 + dy]
    angle = np.radians(90 + turn)
    wcs.wcs.cd = FRAME_SCALE / 3600 * np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    return wcs


def write_frame(
    folder: Path, band: str, sky: WCS, galaxies: list[tuple[float, float]], tile: str = "000756-1-0044", packed=True
) -> Path:
    """One band of an SDSS field: the image in nanomaggies, the calibration vector, the sky and the asTrans table.

    `galaxies` are right ascensions and declinations of blobs of 400 nanomaggies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(ord(band)).normal(0, 0.01, FRAME).astype("float32")
    for ra, dec in galaxies:
        x, y = sky.wcs_world2pix(ra, dec, 0)
        left, bottom = int(x) - 40, int(y) - 40
        image[bottom : bottom + 80, left : left + 80] += _blob((80, 80), x - left, y - bottom, 4, 400)
    # The survey keeps ten binary digits, so that bzip2 finds something to save.
    image = np.round(image * 256) / np.float32(256)
    header = sky.to_header()
    header.update({"BUNIT": "nanomaggy", "FILTER": band, "RUN": 756, "CAMCOL": 1, "FRAME": 44, "NMGY": 0.005})
    hdus = fits.HDUList([fits.PrimaryHDU(image, header), fits.ImageHDU(np.ones(FRAME[1], "float32"))])
    hdus.append(fits.BinTableHDU.from_columns([fits.Column("ALLSKY", "4E", array=np.ones((1, 4)))]))
    hdus.append(fits.BinTableHDU.from_columns([fits.Column("run", "J", array=[756])]))
    path = folder / f"frame-{band}-{tile}.fits"
    hdus.writeto(path)
    if packed:
        packed_path = path.with_name(path.name + ".bz2")
        packed_path.write_bytes(bz2.compress(path.read_bytes(), 1))
        path.unlink()
        path = packed_path
    return path
