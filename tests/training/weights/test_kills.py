"""A recipe that is killed while it simulates, inside its training and after it ends with the files of one that is
not."""

import sys
from pathlib import Path

from tests.training.weights.killing import Run, differences

#: Three steps: galaxies, a training of two epochs, and its weights in half precision.
RECIPE = """
from functools import partial
from pathlib import Path

from morph.model.store import write_half
from training.weights.steps import Step, run_steps

if __name__ == "__main__":
    work = Path("work")
    galaxies, model, small = work / "galaxies", work / "model.keras", work / "small.keras"
    simulate = "simulate galaxies --number 30 --seed 1 --processes 1 --to work/galaxies"
    train = "pretrain work/galaxies --epochs 2 --steps 2 --batch-size 8 --name short --to work/model.keras"
    run_steps(
        [
            Step("simulate", tuple(simulate.split()), (), (galaxies,)),
            Step("train", tuple(train.split()), (galaxies,), (model,)),
            Step("store", ("half",), (model,), (small,), 0.0, partial(write_half, model, small)),
        ],
        work,
    )
"""


def test_a_killed_recipe_ends_as_an_undisturbed_one(tmp_path: Path):
    whole, killed = (Run(tmp_path / name, (sys.executable, "-c", RECIPE)) for name in ("whole", "killed"))
    for run in (whole, killed):
        run.work.mkdir()
    whole.finish()
    state = killed.folder / "mlruns" / "unfinished" / "morph-short" / "state"
    moments = (
        (killed.work / ".galaxies.building").exists,
        (state / "epochs.weights.h5").exists,
        lambda: any(state.glob("after-*.weights.h5")),
    )
    assert [killed.kill_when(moment) for moment in moments] == [True, True, True]
    killed.finish()
    assert differences(whole.work, killed.work) == []
    assert {path.name for path in killed.work.iterdir()} == {"galaxies", "model.keras", "small.keras", "steps.json"}
