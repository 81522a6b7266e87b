"""`morph import` of JPEG and PNG pictures, as a user types it."""

import h5py
import numpy as np
import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.decision_tree import VOTE_COLUMNS
from morph.errors import InputError
from morph.sizes import STAMP_SIZE
from morph.stamps.stretch import centre_crop
from training.importers.annotating import read_columns
from training.importers.schemes import GALAXY10_CLASSES

EDGE_ON = VOTE_COLUMNS.index("disk-edge-on_yes")
SMOOTH = VOTE_COLUMNS.index("smooth-or-featured_smooth")


def elongation(image: np.ndarray) -> float:
    """How much wider than high the light in a stamp is."""
    light = np.clip(image.mean(axis=-1) - 12, 0, None)
    offset = np.arange(len(light)) - (len(light) - 1) / 2
    return float(np.sqrt((light.sum(axis=0) @ offset**2) / (light.sum(axis=1) @ offset**2)))


@pytest.fixture
def labels(write):
    """Classes of the `pictures`, in another order, with one galaxy that has no picture."""
    rows = ["0106,elliptical", "0101,edge_on", "0104,elliptical", "0103,edge_on", "0999,merger", "0105,edge_on"]
    return write("labels.csv", "id,label", *rows, "0102,elliptical")


def test_votes_land_on_their_galaxies(morph, pictures, labels, tmp_path):
    status, output, _ = morph("import", pictures, "--labels", labels, "--survey", "sdss", "--to", tmp_path / "set")
    assert status == 0
    galaxies = Galaxies.open(tmp_path / "set")
    assert (galaxies.kind, galaxies.size, galaxies.survey) == ("composite", STAMP_SIZE, "sdss")
    assert sorted(galaxies.ids) == [f"010{i}" for i in range(1, 7)]
    for galaxy in galaxies:
        flat = elongation(galaxy.image) > 2
        assert flat == (int(galaxy.id) % 2 == 1)
        assert galaxy.votes[EDGE_ON if flat else SMOOTH] == 1
    assert "Galaxy Zoo 1 classes in column 'label'" in output
    assert "labels without an image (0999)" in output
    assert "disk-edge-on             3" in output


def test_pictures_without_a_label_are_reported_and_left_out_unless_wanted(morph, pictures, write, tmp_path):
    labels = write("labels.csv", "id,label", "0101,edge_on", "0102,elliptical")
    known = ("--labels", labels, "--survey", "sdss", "--to", tmp_path / "set")
    _, output, _ = morph("import", pictures, *known)
    assert "Skipped 4" in output
    assert len(Galaxies.open(tmp_path / "set")) == 2
    morph("import", pictures, *known, "--keep-unlabelled")
    galaxies = Galaxies.open(tmp_path / "set")
    assert len(galaxies) == 6
    assert np.isnan(galaxies.votes[galaxies.ids == "0105"]).all()


def test_wider_stamps_show_the_same_galaxies_in_their_middle(morph, pictures, tmp_path):
    for size in ("64", "160"):
        status, output, error = morph(
            "import", pictures, "--survey", "sdss", "--stamp-size", size, "--to", tmp_path / size
        )
        assert (status, error) == (0, "")
    view, wide = Galaxies.open(tmp_path / "64"), Galaxies.open(tmp_path / "160")
    assert (view.size, wide.size) == (64, 160)
    np.testing.assert_array_equal(centre_crop(wide.images, 64), view.images)
    assert "reach over the edge of their image" in output
    status, _, error = morph("import", pictures, "--survey", "sdss", "--stamp-size", "300", "--to", tmp_path / "x")
    assert status == 2
    assert "300 is not in the range 64<=x<=256" in error


def test_properties_in_another_table_reach_the_galaxies_that_it_names(morph, pictures, labels, write, tmp_path):
    properties = write(
        "properties.csv",
        "set,id,ra,dec,spec_z,p_bar",
        "mine,0101,10.5,-3.25,0.044,0.9",
        "mine,0102,,,,0.1",
        "others,0777,20.0,1.0,0.05,0.5",
    )
    words = ("--survey", "sdss", "--properties", properties, "--to", tmp_path / "set")
    for with_labels in ((), ("--labels", labels)):
        status, output, error = morph("import", pictures, *with_labels, *words)
        assert (status, error) == (0, "")
        assert f"Properties in '{properties}' of 2 images: redshift." in output
        galaxies = Galaxies.open(tmp_path / "set")
        redshift = dict(zip(galaxies.ids.tolist(), galaxies.properties["redshift"].tolist(), strict=True))
        assert redshift.pop("0101") == pytest.approx(0.044)
        assert len(redshift) == 5
        assert np.isnan(list(redshift.values())).all()
        assert (galaxies.ra[galaxies.ids == "0101"], galaxies.dec[galaxies.ids == "0101"]) == (10.5, -3.25)
        assert np.isfinite(galaxies.votes).any() == bool(with_labels)
    columns = read_columns(properties, galaxies, ["p_bar", "set"])
    assert dict(zip(galaxies.ids.tolist(), columns["set"].tolist(), strict=True))["0102"] == "mine"
    bars = dict(zip(galaxies.ids.tolist(), columns["p_bar"].tolist(), strict=True))
    assert (bars["0101"], bars["0102"]) == (0.9, 0.1)
    assert np.isnan(bars["0103"])
    with pytest.raises(InputError, match="no column 'grade'; it has set, id, ra, dec, spec_z, p_bar"):
        read_columns(properties, galaxies, ["grade"])


def test_a_table_without_any_property_is_refused(morph, pictures, write, tmp_path):
    properties = write("properties.csv", "id,p_bar", "0101,0.9")
    words = ("--survey", "sdss", "--properties", properties, "--to", tmp_path / "set")
    status, _, error = morph("import", pictures, *words)
    assert status == 2
    assert "has no column of redshifts, magnitudes or positions" in error


def test_pictures_without_labels_are_an_unlabelled_set(morph, pictures, tmp_path):
    status, output, _ = morph("import", pictures, "--survey", "sdss", "--to", tmp_path / "set")
    assert status == 0
    assert "No galaxy has labels" in output
    assert np.isnan(Galaxies.open(tmp_path / "set").votes).all()


def test_a_damaged_picture_among_many_is_reported_and_left_out(morph, pictures, tmp_path):
    whole = (pictures / "0103.png").read_bytes()
    (pictures / "0103.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "notes.jpg").write_text("not a picture")
    status, output, _ = morph("import", pictures, "--survey", "sdss", "--to", tmp_path / "set")
    assert status == 0
    assert "Skipped 2: images that cannot be used (0103" in output
    assert len(Galaxies.open(tmp_path / "set")) == 5


def test_pixel_scale_turns_radii_into_arcsec(morph, draw, tmp_path):
    (tmp_path / "one").mkdir()
    Image.fromarray(draw(radius=12, size=200)).save(tmp_path / "one" / "a.png")
    morph("import", tmp_path / "one", "--survey", "sdss", "--pixel-scale", "0.396", "--to", tmp_path / "set")
    properties = Galaxies.open(tmp_path / "set").properties
    # Measured on the stretched, 8-bit picture, whose faint light is lost.
    assert properties["radius"][0] == pytest.approx(12 * 0.396, rel=0.25)
    # The network's 64 pixels span six half-light radii.
    assert properties["pixel_scale"][0] * 64 == pytest.approx(6 * properties["radius"][0], rel=1e-4)


def test_radii_stay_unknown_where_the_scale_is(morph, pictures, tmp_path):
    morph("import", pictures, "--survey", "sdss", "--to", tmp_path / "set")
    assert np.isnan(Galaxies.open(tmp_path / "set").properties["radius"]).all()


def test_positions_and_redshifts_come_from_the_table_or_the_name(morph, draw, write, tmp_path):
    folder = tmp_path / "sky"
    folder.mkdir()
    for name in ("a", "ra10.5_dec-8.25"):
        Image.fromarray(draw()).save(folder / f"{name}.png")
    labels = write("t.csv", "id,label,ra,dec,redshift", "a,elliptical,150.5,2.25,0.07", "ra10.5_dec-8.25,merger,,,")
    morph("import", folder, "--labels", labels, "--survey", "sdss", "--to", tmp_path / "set")
    galaxies = Galaxies.open(tmp_path / "set")
    places = {str(i): (ra, dec) for i, ra, dec in zip(galaxies.ids, galaxies.ra, galaxies.dec, strict=True)}
    assert places == {"a": (150.5, 2.25), "ra10.5_dec-8.25": (10.5, -8.25)}
    np.testing.assert_allclose(np.sort(galaxies.properties["redshift"]), [0.07, np.nan], rtol=1e-6)


def test_several_answers_about_one_picture_are_one_galaxy(morph, pictures, write, tmp_path):
    rows = ["0101,How rounded is it?,Cigar shaped", "0101,Is the galaxy simply smooth and rounded?,Smooth"]
    labels = write("labels.csv", "id,question,answer", *rows)
    morph("import", pictures, "--labels", labels, "--survey", "decals", "--to", tmp_path / "set")
    votes = Galaxies.open(tmp_path / "set").votes
    assert votes.shape[0] == 1
    assert votes[0, SMOOTH] == 1, "what both rows say counts once"
    assert votes[0, VOTE_COLUMNS.index("how-rounded_cigar-shaped")] == 1


def test_galaxy10_file(morph, draw, tmp_path):
    images = np.stack([draw(axis_ratio=0.2 if i == 8 else 1.0, size=64, seed=i) for i in range(10)])
    with h5py.File(tmp_path / "Galaxy10_DECals.h5", "w") as file:
        file["images"], file["ans"] = images, np.arange(10, dtype="uint8")
        file["ra"], file["dec"], file["pxscale"] = np.arange(10.0), np.zeros(10), np.full(10, 0.262)
    status, _, error = morph("import", tmp_path / "Galaxy10_DECals.h5", "--survey", "decals", "--to", tmp_path / "set")
    assert (status, error) == (0, "")
    galaxies = Galaxies.open(tmp_path / "set")
    assert galaxies.ra.tolist() == list(range(10))
    for votes, classes in zip(galaxies.votes, GALAXY10_CLASSES.values(), strict=True):
        assert {VOTE_COLUMNS[j] for j in np.flatnonzero(votes > 0)} == set(classes)
    assert elongation(galaxies.images[8]) > 2
    assert np.isfinite(galaxies.properties["radius"]).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{pictures}", "--survey", "hubble"], "Unknown survey 'hubble'"),
        (["{folder}/nowhere", "--survey", "sdss"], "Nothing is at"),
        (["{folder}/*.png", "--survey", "sdss"], "Nothing matches"),
        (["{folder}/empty", "--survey", "sdss"], "There are no images in"),
        (["{folder}/words", "--survey", "sdss"], "No galaxy can be imported"),
        (["{pictures}", "--survey", "sdss", "--labels", "{folder}/none.csv"], "No table of labels exists"),
        (["{pictures}", "--survey", "sdss", "--labels", "{folder}/others.csv"], "No row of"),
        (["{pictures}", "--survey", "sdss", "--labels", "{folder}/twice.csv"], "'0101' occurs twice"),
        (["{pictures}", "--survey", "sdss", "--labels", "{folder}/other.csv"], "--mapping"),
        (["{pictures}", "--survey", "sdss", "--mapping", "{folder}/map.json"], "--labels"),
        (["{pictures}", "{folder}/again", "--survey", "sdss"], "both called '0101'"),
        (["{pictures}", "--survey", "sdss", "--bands", "gri"], "--bands, --zero-point and --unit are for FITS"),
        (["{folder}/bad.h5", "--survey", "decals"], "cannot be read as HDF5"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(morph, pictures, tmp_path, draw, write, arguments, said):
    for folder in ("empty", "words", "again"):
        (tmp_path / folder).mkdir()
    write("words/a.png", "not a picture")
    write("bad.h5", "not HDF5")
    write("others.csv", "id,label", "58770,elliptical")
    write("twice.csv", "id,label", "0101,elliptical", "0101,merger")
    write("other.csv", "id,temperature", "0101,high")
    write("map.json", '{"E": "smooth-or-featured_smooth"}')
    Image.fromarray(draw()).save(tmp_path / "again" / "0101.jpg")
    filled = [argument.format(pictures=pictures, folder=tmp_path) for argument in arguments]
    status, output, error = morph("import", *filled, "--to", tmp_path / "set")
    assert (status, output) == (2, "")
    assert said in error
    assert error.startswith("morph: ")
    assert error.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name.strip(".").startswith("set")]


@pytest.mark.real
def test_galaxy_zoo_2_pictures_are_named_by_asset_and_galaxies_by_objid(morph, real_data, tmp_path):
    folder = real_data / "sdss-galaxyzoo2"
    some = sorted((folder / "images").iterdir())[:12]
    labels = folder / "votes.csv"
    status, output, _ = morph("import", *some, "--labels", labels, "--survey", "sdss", "--to", tmp_path / "set")
    assert status == 0
    assert "named by column 'id', galaxies by 'dr7objid'" in output
    galaxies = Galaxies.open(tmp_path / "set")
    assert all(len(name) == 18 for name in galaxies.ids)
    first = galaxies.votes[:, [VOTE_COLUMNS.index(f"smooth-or-featured_{a}") for a in ("smooth", "featured-or-disk")]]
    assert ((first.sum(axis=1) > 15) & (first.sum(axis=1) < 80)).all(), "a galaxy has some forty volunteers"


def test_debiased_votes_are_marked_in_the_dataset_and_reported(morph, pictures, write, tmp_path):
    head = "objid,Class1.1,Class1.2,Class1.3"
    labels = write("kaggle.csv", head, *(f"010{i},0.25,0.7,0.05" for i in range(1, 7)))
    status, output, _ = morph("import", pictures, "--labels", labels, "--survey", "sdss", "--to", tmp_path / "set")
    assert status == 0
    assert "Votes: debiased" in output
    galaxies = Galaxies.open(tmp_path / "set")
    assert set(galaxies.vote_kind) == {"debiased"}
    assert galaxies.about["votes"] == "debiased"
    words = ("--labels", labels, "--survey", "sdss", "--to", tmp_path / "raw", "--votes", "raw")
    status, _, said = morph("import", pictures, *words)
    assert (status, (tmp_path / "raw").exists()) == (2, False)
    assert "has no raw votes" in said
