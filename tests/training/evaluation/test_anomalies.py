import io

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.votes import empty_votes, set_votes
from training.evaluation.anomalies import ALL, REAL, SCORES, auroc, check_alphas, measure_anomalies
from training.evaluation.tables import anomaly_lines, anomaly_table
from training.experiments import tracking
from training.fitting.anomaly_reference import FEWEST_NORMAL, learn_reference
from training.fitting.injected import KINDS


def disks(path, kind: str, count: int, artifacts: int = 0, seed: int = 0) -> Galaxies:
    """Round and flat disks, the last few of them bright stars that volunteers call an artifact."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    with GalaxiesWriter(path, kind, size=64) as writer:
        for i in range(count):
            star = i >= count - artifacts
            radius = 1.5 if star else random.uniform(5, 7)
            light = np.exp(-np.hypot(x, y / random.uniform(0.4, 1)) / radius)[..., None] * (8 if star else 1)
            image = light * random.uniform(0.8, 1.2, 3) + random.normal(0, 0.02, (64, 64, 3))
            image = np.clip(200 * image + 10, 0, 255) if kind == "composite" else image
            votes = {f"smooth-or-featured_{'artifact' if star else 'smooth'}": 1.0}
            writer.add(Galaxy(f"{kind}-{seed}-{i}", "sdss", image, set_votes(empty_votes(), votes)))
    return Galaxies.open(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An untrained classifier that knows what is normal among disks of both kinds of image."""
    import keras

    from morph.model.classifier import Classifier

    keras.utils.set_random_seed(1)
    classifier, folder = Classifier(), tmp_path_factory.mktemp("fitted")
    held_out = [disks(folder / f"h-{kind}", kind, 50, seed=1) for kind in ("flux", "composite")]
    hosts = [disks(folder / f"t-{kind}", kind, 25, seed=2) for kind in ("flux", "composite")]
    assert learn_reference(classifier, held_out, hosts) == 50
    return classifier


@pytest.fixture(scope="module")
def measured(fitted, tmp_path_factory):
    galaxies = disks(tmp_path_factory.mktemp("sets") / "mine", "composite", 30, artifacts=5, seed=3)
    return measure_anomalies(fitted, galaxies)


def test_the_area_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    normal, anomalous = random.normal(0, 1, 300).round(1), random.normal(1, 1, 80).round(1)
    figure = auroc(normal, anomalous)
    truth = np.repeat([0, 1], [300, 80])
    assert figure.value == pytest.approx(roc_auc_score(truth, np.concatenate([normal, anomalous])))
    assert figure.low < figure.value < figure.high
    assert (figure.low, figure.high) == pytest.approx((figure.value - 0.05, figure.value + 0.05), abs=0.03)


def test_one_class_only_has_no_area():
    with pytest.raises(InputError, match="one of the two is missing"):
        auroc(np.arange(3.0), np.zeros(0))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_rate_outside_of_zero_to_one(alpha):
    with pytest.raises(InputError, match="between 0 and 1"):
        check_alphas([0.05, alpha])


def test_every_kind_is_measured_by_every_score(measured):
    assert measured.rows == [*KINDS, ALL, REAL]
    for score in SCORES:
        assert measured.figures[f"flagged/0.05/{score}"].n == 25
        assert measured.figures[f"auroc/{REAL}/{score}"].n == 5
        assert measured.figures[f"auroc/{ALL}/{score}"].n == 25 * len(KINDS)
    assert measured.figures[f"auroc/missing band/{SCORES[0]}"].value > 0.9
    assert measured.figures[f"auroc/{ALL}/{SCORES[0]}"].value > 0.8
    assert "since there are no others" in measured.note
    assert len(measured.examples) == len(measured.captions) > 0


def test_the_table_names_every_row(measured):
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(anomaly_table(measured))
    text = console.export_text()
    assert all(row in text for row in measured.rows)
    assert "flagged at 1 %" in text
    assert any("isolation forest" in line for line in anomaly_lines(measured))


def test_without_normal_galaxies_it_says_so(fitted, tmp_path):
    artifacts = disks(tmp_path / "artifacts", "flux", 30, artifacts=30)
    measured = measure_anomalies(fitted, artifacts)
    assert not measured.figures
    assert "Only 0 normal galaxies" in anomaly_lines(measured)[0]


def test_too_few_to_say_what_is_normal_leave_the_score_as_it_is(fitted, tmp_path):
    few = disks(tmp_path / "few", "flux", FEWEST_NORMAL - 1, seed=4)
    before = fitted.answer(few.images)["anomaly_score"]
    assert learn_reference(fitted, few) == FEWEST_NORMAL - 1
    np.testing.assert_array_equal(fitted.answer(few.images)["anomaly_score"], before)


def test_held_out_galaxies_alone_set_the_reference_where_anomalies_are_learned(fitted, tmp_path):
    import keras

    kernel = keras.ops.convert_to_numpy(fitted.anomaly.kernel)
    assert learn_reference(fitted, disks(tmp_path / "new", "flux", 60, seed=5)) == 60
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(fitted.anomaly.kernel), kernel)


def test_the_verb_prints_and_records_the_anomalies(tracked, fitted, sample):
    from training.cli.evaluate import command

    fitted.save(tracked / "model.keras")
    arguments = ["model.keras", sample.about["path"], "--split", "all", "--run", "anomalies"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "satellite trail" in done.output
    run = mlflow.MlflowClient().get_run(tracking.find_run("anomalies"))
    assert "anomaly/auroc/all-injected/anomaly-score" in run.data.metrics
    with pytest.raises(InputError, match="between 0 and 1"):
        CliRunner().invoke(command, [*arguments, "--alpha", "1.5"], catch_exceptions=False, standalone_mode=False)
