"""One thing changed in a galaxy, and the rest held."""

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from morph.decision_tree import ANSWERS
from morph.errors import InputError
from morph.model.store import load_model
from morph.registry import SHIPPED_NAME
from morph.simulation.sample import simulate_galaxies
from morph.simulation.sampling import edit_files
from morph.simulation.sampling.changes import Change, held_names
from morph.simulation.sampling.edit import Editor, Portrait, place
from morph.simulation.sampling.edit_files import edit_galaxies
from morph.stamps.cutout_files import read_cutouts
from morph.stamps.photometry import fluxes_within

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED_NAME)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory) -> list[Portrait]:
    """Simulated DES galaxies on 24 half-light radii of sky."""
    path = tmp_path_factory.mktemp("wide") / "set"
    made = simulate_galaxies(path, 6, "des", seed=11, processes=1, progress=False, size=256)
    scales = made.properties["pixel_scale"]
    return [Portrait(image, "des", True, float(scale)) for image, scale in zip(made.images, scales, strict=True)]


def edited(shipped, portrait: Portrait, text: str, hold: str = "all", share: float = 1.0) -> Portrait:
    change = Change.parse(text)
    image = Editor(shipped, change, held_names(hold, change))(portrait, share)
    return Portrait(image, portrait.survey, portrait.calibrated, portrait.pixel_scale)


def half_light(portrait: Portrait, reach: float) -> float:
    """The radius in pixels that holds half of the light within `reach` pixels."""
    light = np.ascontiguousarray((portrait.image - portrait.sky).mean(axis=-1))
    radius, _ = sep.flux_radius(light, [portrait.shape.x], [portrait.shape.y], [reach], 0.5, subpix=5)
    return float(radius[0])


def light_within(portrait: Portrait, reach: float) -> float:
    """The light within `reach` pixels of the galaxy."""
    light = np.ascontiguousarray((portrait.image - portrait.sky).mean(axis=-1))
    return float(fluxes_within(light, portrait.shape.x, portrait.shape.y, reach)[0])


def ellipse(portrait: Portrait) -> tuple[float, float]:
    """Axis ratio and angle (degrees) by second moments under a Gaussian of the half-light radius."""
    light = (portrait.image - portrait.sky).mean(axis=-1)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    x, y = x - portrait.shape.x, y - portrait.shape.y
    weighted = light * np.exp(-0.5 * (x**2 + y**2) / portrait.shape.radius**2)
    xx, yy, xy = ((weighted * moment).sum() / weighted.sum() for moment in (x * x, y * y, x * y))
    spread = np.hypot((xx - yy) / 2, xy)
    ratio = np.sqrt(((xx + yy) / 2 - spread) / ((xx + yy) / 2 + spread))
    return float(ratio), float(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)))


def test_twice_the_radius_is_measured_and_the_rest_stays(shipped, portraits):
    pairs = [(portrait, edited(shipped, portrait, "radius=x2")) for portrait in portraits]
    # Within as many of its radii before and after: the isophote that `measure` looks within moves inwards.
    reach = [3 * before.shape.radius for before, _ in pairs]
    grown = [half_light(after, 2 * r) / half_light(before, r) for (before, after), r in zip(pairs, reach, strict=True)]
    assert np.median(grown) == pytest.approx(2.0, abs=0.1)
    assert 1.7 < np.median([after.shape.radius / before.shape.radius for before, after in pairs]) < 2.1
    for before, after in pairs:
        (ratio, angle), (new_ratio, new_angle) = ellipse(before), ellipse(after)
        assert new_ratio == pytest.approx(ratio, abs=0.03)
        assert ratio > 0.85 or abs((new_angle - angle + 90) % 180 - 90) < 5
        np.testing.assert_allclose(after.noise / before.noise, 1, atol=0.15)
    kept = [
        light_within(after, 2 * r) / light_within(before, r) for (before, after), r in zip(pairs, reach, strict=True)
    ]
    assert np.median(kept) == pytest.approx(1.0, abs=0.08)
    answers = [shipped.answer(np.stack([p.stamp() for p in pair]))["probabilities"] for pair in pairs]
    assert np.median([np.abs(after - before).max() for before, after in answers]) < 0.05


@pytest.mark.parametrize(("text", "step"), [("mag_r=+1", 1.0), ("mag_r=-1", -1.0)])
def test_a_step_of_brightness_keeps_the_skys_noise(shipped, portraits, text, step):
    pairs = [(portrait, edited(shipped, portrait, text)) for portrait in portraits[:4]]
    steps = np.array([after.magnitudes - before.magnitudes for before, after in pairs])
    np.testing.assert_allclose(np.median(steps, axis=0), step, atol=0.1)
    for before, after in pairs:
        np.testing.assert_allclose(after.noise / before.noise, 1, atol=0.15)


def test_a_smaller_galaxy_keeps_the_seeing_and_may_not_be_a_point(shipped, portraits):
    large = max(portraits, key=lambda portrait: portrait.radius)
    small = edited(shipped, large, f"radius={0.7 * large.radius:.3f}")
    assert small.radius / large.radius == pytest.approx(0.7, abs=0.08)
    with pytest.raises(InputError, match="no larger than a point source of des"):
        edited(shipped, large, "radius=0.61")


def test_an_answer_moves_towards_what_is_asked_for(shipped, portraits):
    smooth = ANSWERS.index("smooth-or-featured_smooth")
    for portrait in portraits[:2]:
        (before,) = shipped.answer(portrait.stamp()[None])["probabilities"]
        asked = 0.2 if before[smooth] > 0.5 else 0.8
        after = edited(shipped, portrait, f"smooth-or-featured_smooth={asked}")
        (now,) = shipped.answer(after.stamp()[None])["probabilities"]
        assert abs(now[smooth] - asked) < abs(before[smooth] - asked) - 0.1
        assert np.abs(after.magnitudes - portrait.magnitudes).max() < 0.15
        np.testing.assert_allclose(after.noise, portrait.noise, rtol=0.1)


def test_a_strip_goes_from_less_to_more(shipped, portraits):
    for text, sign in (("radius=x2", 1), ("radius=x0.8", 1), ("mag_r=+1", 1)):
        change = Change.parse(text)
        shares = Editor(shipped, change, []).shares()
        values = [change.part(share, 1.0).value for share in shares]
        assert (np.diff(values) * sign > 0).all(), text
    unchanged = Editor(shipped, Change.parse("radius=x2"), [])(portraits[0], 0.0)
    np.testing.assert_array_equal(unchanged, portraits[0].image)


def test_a_stamp_goes_back_to_where_it_was_cut(portraits):
    portrait = portraits[0]
    again = place(portrait, portrait.stamp() - portrait.sky * 0)
    y, x = round(portrait.shape.y), round(portrait.shape.x)
    part = slice(y - 5, y + 6), slice(x - 5, x + 6)
    assert again[part].sum() == pytest.approx(portrait.image[part].sum(), rel=0.02)


@pytest.mark.parametrize(
    ("text", "hold", "said"),
    [
        ("radius", "all", "takes a change such as"),
        ("size=x2", "all", "is a change of radius"),
        ("mag_r=x2", "all", "is a change of radius"),
        ("radius=x100", "all", "too large a change"),
        ("mag_r=+9", "all", "too large a change"),
        ("redshift=+0.1", "all", "give the value that redshift is to have"),
        ("bar_strong=0.2..0.3", "all", "is not one value"),
        ("colour=1", "all", "is not a condition"),
        ("radius=x2", "shape", "--hold takes all, none, or names"),
        ("radius=x2", "radius", "cannot be held and changed"),
    ],
)
def test_what_cannot_be_changed_is_one_sentence(text, hold, said):
    with pytest.raises(InputError) as error:
        held_names(hold, Change.parse(text))
    assert said in str(error.value)


def test_files_are_found_by_name_folder_and_pattern(tmp_path):
    for name in ("a.png", "b.jpg", "c_g.fits", "c_r.fits", "labels.csv"):
        (tmp_path / name).write_bytes(b"")
    found = [[path.name for path in group] for group in edit_files._groups([tmp_path])]
    assert found == [["a.png"], ["b.jpg"], ["c_g.fits", "c_r.fits"]]
    assert edit_files._groups([str(tmp_path / "*.png")]) == [[tmp_path / "a.png"]]
    with pytest.raises(InputError):
        edit_files._groups([str(tmp_path / "*.tiff")])


def test_fits_comes_back_as_fits_and_a_picture_as_png(shipped, portraits, tmp_path, monkeypatch):
    monkeypatch.setattr(edit_files, "load_model", lambda name: shipped)
    portrait = portraits[0]
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval = [128, 128], [40.0, -30.0]
    wcs.wcs.cdelt, wcs.wcs.ctype = (
        [-portrait.pixel_scale / 3600, portrait.pixel_scale / 3600],
        ["RA---TAN", "DEC--TAN"],
    )
    header = wcs.to_header()
    header["MAGZERO"] = 22.5
    for band, plane in zip("gri", np.moveaxis(portrait.image, -1, 0), strict=True):
        fits.writeto(tmp_path / f"one_{band}.fits", plane, header)
    light = 200 * np.exp(-np.hypot(*(np.mgrid[:80, :80] - 39.5)) / 6)[..., None] * [1.0, 0.9, 0.8] + 8
    noisy = light + np.random.default_rng(0).normal(0, 2, light.shape)
    Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(tmp_path / "two.png")
    names = [str(tmp_path / "one_*.fits"), str(tmp_path / "t*.png")]
    made = edit_galaxies(SHIPPED_NAME, names, tmp_path / "out", Change.parse("radius=x1.5"), survey="des")
    assert sorted(each.path.name for each in made) == ["one.fits", "two.png"]
    assert all(each.strip.exists() for each in made)
    (again,) = read_cutouts(tmp_path / "out" / "one.fits", "des")
    (original,) = read_cutouts(sorted(tmp_path.glob("one_*.fits")), "des")
    assert (again.ra, again.dec) == pytest.approx((original.ra, original.dec))
    assert again.image.shape == original.image.shape
    after = Portrait(again.image, "des", True, again.pixel_scale)
    assert after.shape.radius / portrait.shape.radius == pytest.approx(1.5, abs=0.1)
    header = fits.getheader(tmp_path / "out" / "one.fits")
    assert (header["EDITED"], header["DECODER"]) == ("radius=x1.5", "plain")
    edited = Image.open(tmp_path / "out" / "two.png")
    assert (edited.size, edited.text) == ((80, 80), {"decoder": "plain"})
    with pytest.raises(InputError, match="no magnitudes, as a picture has none"):
        edit_galaxies(SHIPPED_NAME, [tmp_path / "two.png"], tmp_path / "out", Change.parse("mag_r=18"))
    Image.new("RGB", (40, 40)).save(tmp_path / "blank.png")
    with pytest.raises(InputError, match="No galaxy stands out"):
        edit_galaxies(SHIPPED_NAME, [tmp_path / "blank.png"], tmp_path / "out", Change.parse("radius=x2"))
