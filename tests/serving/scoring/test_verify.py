"""`morph score --verify`: a tile with damage that unpacks is told and left out, and the others are scored."""

import shutil

import pyarrow.parquet as pq
from astropy.io import fits

NAMES = ["DES0356-5248", "DES0400-5248"]


def test_a_flipped_bit_fails_its_tile_where_files_are_verified(morph, tiles_folder, catalogue, weights, tmp_path):
    tiles = shutil.copytree(tiles_folder, tmp_path / "tiles")
    (path,) = tiles.rglob(f"{NAMES[0]}*_r.fits.fz")
    content = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        content[hdus["SCI"].fileinfo()["datLoc"] + hdus["SCI"].size // 2] ^= 1
    path.write_bytes(content)
    given = ("score", tiles, "--catalog", catalogue, "--model", weights)
    assert morph(*given, "--out", tmp_path / "trusted")[0] == 0
    status, printed, errors = morph(*given, "--verify", "--out", tmp_path / "verified")
    assert status == 1
    assert "Scored 1 tile with 6 galaxies" in printed
    assert f"{path.name}' is damaged: 'SCI' does not have its checksum; get it again." in errors
    assert [each.stem for each in (tmp_path / "verified").glob("*.parquet")] == NAMES[1:]
    one, other = (pq.read_table(tmp_path / out / f"{NAMES[1]}.parquet") for out in ("trusted", "verified"))
    assert one.equals(other)


def test_files_without_checksums_cannot_be_verified(morph, tiles_folder, weights, tmp_path):
    (path,) = (tiles_folder / NAMES[0]).glob("*_r.fits.fz")
    with fits.open(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.header.remove("DATASUM", ignore_missing=True)
        hdus.writeto(tmp_path / path.name)
    given = ("score", tmp_path / path.name, "--model", weights, "--out", tmp_path / "out")
    status, printed, errors = morph(*given, "--verify")
    assert (status, printed) == (2, "")
    assert "has no checksums (DATASUM); get it with them, or leave out --verify." in errors
    assert errors.count("\n") == 1
