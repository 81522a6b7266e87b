import numpy as np
import pytest
from PIL import Image

from morph.errors import InputError
from morph.simulation.contact_sheet import SHEET_ZOOM, check_sheet, contact_sheet, render, write_sheet


def test_a_sheet_shows_its_pictures_in_rows():
    pictures = [np.full((8, 8, 3), k, dtype="uint8") for k in range(1, 6)]
    sheet = contact_sheet(pictures, columns=3, gap=2)
    assert sheet.shape == (20, 30, 3)
    assert (sheet[10:18, 0:8] == 4).all()


def test_a_picture_does_not_depend_on_the_pixels_it_is_cut_in():
    """Flux per pixel falls with the square of the pixel's size; surface brightness does not."""
    fine = np.full((4, 4, 3), 0.1, dtype="float32")
    np.testing.assert_array_equal(render(fine, "sdss", 0.2), render(4 * fine, "sdss", 0.4))


def test_a_sample_becomes_a_picture(sample, tmp_path):
    write_sheet(sample, tmp_path / "sheet.png", number=12, columns=4)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (SHEET_ZOOM * 4 * 66, SHEET_ZOOM * 3 * 66)
        assert np.asarray(image).std() > 5


@pytest.mark.parametrize("name", ["sheet.txt", "nowhere/sheet.png"])
def test_a_sheet_that_cannot_be_written_is_reported_before_the_work(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a picture"):
        check_sheet(tmp_path / name)
