"""The model card of the weights that ship, written from what the run recorded and printed; and their publication."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from datetime import date
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from morph import __version__
from morph.atomic import atomic, atomic_files
from morph.console import counted
from morph.errors import InputError, first_line
from morph.model.store import RECORD
from morph.registry import SHIPPED_MODELS
from training.weights import detail, heads, prior
from training.weights.log import LOG, interruptions
from training.weights.recipe import (
    HELD_OUT,
    LABELLED,
    LARGER,
    MEASURED,
    MEASURED_SHORT,
    SIMULATED,
    TRAININGS,
    UNLABELLED,
    UNSEEN,
    Extent,
    data_steps,
    training_steps,
)
from training.weights.restorer import restorer_step
from training.weights.steps import Record, Step, code_digest, digest, duration

#: The card's name, in the folder that the weights ship from.
CARD = "MODEL_CARD.md"

#: The models: the name of the file without its ending, and the registered name.
NAMES = {path.stem: name for name, path in SHIPPED_MODELS.items()}

_HEAD = """# Model card: the weights that ship

Multimodal variational autoencoders with decision-tree heads. They read stamps in three bands, or colour pictures, in
which all galaxies are equally large. The small model is for processors, the large one, its teacher, for GPUs.

| | weights | input | file | SHA-256, first half |
|---|---|---|---|---|
{models}

The kernels of the networks are stored in half precision (16 bits), all else in 32 bits; both compute in 32 bits unless
asked for another precision. `describe` states the digest as `weights`.

## Made by

    {command}

with `MORPH_DATA` naming a folder that holds the public releases below. {origin}

{steps}

## Training set

| set | galaxies | used for |
|---|---|---|
| SDSS composites with Galaxy Zoo 1 classes (Lintott et al. 2008) | {gz1} | one vote a galaxy |
| SDSS composites with Galaxy Zoo 2 votes (Willett et al. 2013, Hart et al. 2016) | {gz2} | all eleven questions |
| SDSS composites, unlabelled | {unlabelled} | the reconstruction, and the votes that a teacher predicts |
| SDSS composites of spirals, 0.2 arcsec a pixel | {spirals} | the same; their own labels are not read (see limits) |
| simulated galaxies observed as SDSS, "balanced" mix | {sim_sdss} | all questions, magnitudes, radius, redshift |
| simulated galaxies observed as DES, "survey" mix | {sim_des} | the reconstruction, magnitudes, radius, redshift |
| the same simulated galaxies observed as SDSS and as DES | {pairs} | the similarity vector; the reconstruction |
| more simulated galaxies observed as SDSS, held out | {held_out_sdss} | the anomaly score's reference, calibration |

Galaxies are split by a hash of their id: 70 % to train, 10 % for validation and for the anomaly score's
reference, 20 % to test. Galaxies whose images also occur in a labelled set's validation or test split are left out of
the unlabelled sets. The teacher's predictions are means over eight orientations and count as eight volunteers' votes.
Galaxy Zoo 1's "unknown" class counts as "artifact" and is kept out of the reconstruction. At the end the small
model's heads are fitted once more to the labelled sets, with all other weights frozen; a class counts as
{volunteers:.0f} votes there.
Then the latent priors are fitted, of which the answers to galaxies without votes are conditions.

{detail}

## Measured

On galaxies that were not trained on; each block is what its first line prints, where `data/` holds the datasets that
the commands above make. How to read the tables: `morph evaluate --help` and `docs/how-to/adapt.md`.
"""

_TAIL = """
## Limits

- Galaxy Zoo 1 gives one hard, noisy label a galaxy: part of the error here is the label's.
- They predict the votes of volunteers on the image as it is (raw), not as if it were nearby (debiased;
  `docs/explanation/methods.md`).
- Few galaxies have votes on bars, spiral arms, bulges and odd features; those heads rely on simulated galaxies, and
  the small samples above have wide intervals. Mergers are the rarest real class.
- The simulation's colours and sizes were set by the medians of about ninety images of each Galaxy Zoo 1 class, drawn
  without regard to the split, and its votes by the published Galaxy Zoo 2 and DECaLS tables.
- The set of spirals shows them at a scale of its own; its labels are not used, since a model would learn that scale.
- Colour images of other surveys use the same preprocessing, but their predictions are less certain: fine-tune on a
  few hundred labels before relying on them (`docs/explanation/real-surveys.md`).
- The anomaly p-value holds for galaxies like those of its reference: bright nearby ones in SDSS, and simulated ones in
  SDSS and DES. Fine-tuning sets it anew for the target survey. Faint galaxies are represented by degraded copies of
  these (`docs/explanation/methods.md`).
- The inference of magnitudes, sizes and redshifts was trained on simulated galaxies alone.
- One choice was made after a look at an earlier release's test figures: that a smooth cigar counts as edge-on among
  the four classes (`training/metrics/categories.py`). It was decided on validation galaxies, but a test figure had
  prompted it. Galaxy Zoo 1's edge-on class does not count as "featured" in training for the same reason.
- Samples are invented. The detail decoder adds structure that is typical of such galaxies and belongs to none.
- Galaxies smaller than about three pixels in half-light radius show their brightness and shape, not their structure.

## Credit

Images: Sloan Digital Sky Survey, Dark Energy Survey, DESI Legacy Surveys, Kilo-Degree Survey. Labels: the volunteers
of Galaxy Zoo (Lintott et al. 2008; Willett et al. 2013; Hart et al. 2016; Walmsley et al. 2022). The votes' likelihood
follows Walmsley et al. (2020).
"""


def shipping_steps(work: Path) -> list[Step]:
    """Store both models in half precision, as they ship."""
    from morph.model.store import write_half

    steps = []
    for name in TRAININGS:
        trained, to = prior.finished(work, name), shipped(work, name)
        words = ("half-precision", f"{trained}", f"{to}")
        steps.append(Step(f"store {name}", words, (trained,), (to,), 30, partial(write_half, trained, to)))
    return steps


def shipped(work: Path, name: str) -> Path:
    """The file of a model as it ships, before it is published."""
    return work / "ship" / f"{name}.keras"


def measuring_steps(data: Path, work: Path, extent: Extent = Extent()) -> list[Step]:
    """Measure both models as they ship.

    Parameters
    ----------
    data, work, extent : as for `training.weights.recipe.check`.
    """
    sets = (*LABELLED, *UNLABELLED, *SIMULATED, *HELD_OUT, *UNSEEN)
    steps = []
    for name in TRAININGS:
        wanted = [each for each in MEASURED if name in each.models]
        for number, each in enumerate(wanted if extent.whole else wanted[:MEASURED_SHORT], 1):
            model, to = shipped(work, name), work / "measured" / f"{name}-{number:02d}.txt"
            read = [work / one for one in sets if f"{{{one}}}" in each.command or "{work}" in each.command]
            words = each.command.format(model=model, work=work, **{one: work / one for one in sets}).split()
            seconds = each.seconds * (LARGER if name == "sdss-large" else 1)
            shown = {f"{model}": NAMES[name], f"{work}{os.sep}": "data/"}
            action = partial(_measure, words, to, shown, data)
            steps.append(Step(f"measure {name}: {each.title}", tuple(words), (model, *read), (to,), seconds, action))
    return steps


def _measure(words: list[str], to: Path, shown: dict[str, str], data: Path) -> None:
    """Run a command, and write it and what it prints, with some texts replaced, to a file."""
    printed = re.sub(r"^Run '.*\n?", "", _output_of(words, data), flags=re.MULTILINE).rstrip()
    text = f"$ {' '.join(words)}\n{printed}\n"
    for old, new in shown.items():
        text = text.replace(old, new)
    with atomic(to) as building:
        building.write_text(text, encoding="utf-8")


def _output_of(words: list[str], data: Path) -> str:
    """What a verb or a script prints. InputError when a script fails."""
    if words[0] == "morph":
        from morph.cli.main import cli

        heard = StringIO()
        with redirect_stdout(heard):
            cli.main(words[1:], prog_name="morph", standalone_mode=False)
        return heard.getvalue()
    script, environment = Path(__file__).parents[2] / words[1], {**os.environ, "MORPH_DATA": f"{data}"}
    done = subprocess.run([sys.executable, script, *words[2:]], capture_output=True, text=True, env=environment)
    if done.returncode:
        *_, reason = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(f"`{' '.join(words)}` failed: {first_line(reason)}.")
    return done.stdout


def publishing_step(data: Path, work: Path, out: Path, extent: Extent, command: str) -> Step:
    """Write the card, and replace the weights and the card in a folder.

    Parameters
    ----------
    data, work, out, extent : as for `training.weights.recipe.check`.
    command : that made the weights, for the card.
    """
    models = [*(shipped(work, name) for name in TRAININGS), *restorer_step(work, extent).outputs]
    measured = [path for step in measuring_steps(data, work, extent) for path in step.outputs]
    published = tuple(out / name for name in (*(path.name for path in models), CARD))

    def publish_all() -> None:
        publish(models, card(data, work, extent, command), out)

    words = ("publish", command, f"{out}")
    return Step("publish", words, (*models, *measured), published, 10, publish_all)


def publish(models: list[Path], text: str, to: Path) -> None:
    """Replace the weights and their card in a folder.

    Parameters
    ----------
    models : the files of the weights.
    text : the card.
    to : the folder.
    """
    with atomic_files(*(to / path.name for path in models), to / CARD) as building:
        building[-1].write_text(text, encoding="utf-8")
        for model, new in zip(models, building, strict=False):
            shutil.copyfile(model, new)
    # New weights hold the record of their training themselves.
    (to / RECORD.name).unlink(missing_ok=True)


def card(data: Path, work: Path, extent: Extent, command: str) -> str:
    """The card as Markdown, of what a run made and recorded in the folder `work`.

    Parameters
    ----------
    data, work : the folders of images, and of datasets, models and the record.
    extent : the part of the recipe that was run.
    command : what was typed.

    Returns
    -------
    Markdown.
    """
    record = Record(work)
    fitted = [heads.heads_step(work, extent), *prior.prior_steps(work, extent)]
    trained = [*training_steps(work, extent), detail.detail_step(work, extent), *fitted]
    made = [*data_steps(data, work, extent), *trained, *shipping_steps(work)]
    stops = {name: times for name, times in interruptions(work / LOG).items() if times}
    counts = {
        name.replace("-", "_"): f"{count(work / name):,}" for name in (*LABELLED, *UNLABELLED, *SIMULATED, *HELD_OUT)
    }
    head = _HEAD.format(
        models="\n".join(_model_row(name, shipped(work, name)) for name in TRAININGS),
        command=command,
        origin=_origin(extent, [record.steps[step.name] for step in made], sum(stops.values())),
        steps="\n".join(_line(step, record, stops.get(step.name, 0), data, work) for step in made),
        pairs=f"2 × {counts['pairs_sdss']}",
        detail=_detail_text(shipped(work, "sdss")),
        volunteers=heads.VOLUNTEERS,
        **counts,
    )
    sections = []
    for name in TRAININGS:
        sections.append(f"\n### `{NAMES[name]}`\n")
        for step in measuring_steps(data, work, extent):
            if step.name.startswith(f"measure {name}: "):
                title = step.name.partition(": ")[2]
                sections.append(f"\n{title}:\n\n```text\n{step.outputs[0].read_text(encoding='utf-8')}```\n")
    return head + "".join(sections) + _TAIL


def _detail_text(path: Path) -> str:
    """What a model's detail decoder learned from, and whether it is kept."""
    from morph.model.store import load_model

    model = load_model(path)
    about = model.about["detail"]
    learned = f"learned from {', '.join(f'`{name}`' for name in about['trained_on'])} with all other weights frozen."
    distances = (
        f"the Fréchet distance of its pictures of held-out galaxies is {about['frechet_distance']:.3g}, and "
        f"{about['frechet_distance_plain']:.3g} without it (`training/evaluation/detail.py`)"
    )
    if not model.detail.fitted:
        return f"A detail decoder {learned} It is left out: {distances}."
    return (
        f"The small model's detail decoder draws samples and nothing else. It {learned} Its realism: {distances}. "
        "The large model has none, and draws samples with the likelihood decoder."
    )


def _model_row(name: str, path: Path) -> str:
    from morph.model.store import load_model

    model = load_model(path)
    # A detail decoder that has not been learned is not in the file.
    weights = model.count_params() - (0 if model.detail.fitted else model.detail.count_params())
    cells = (
        f"`{NAMES[name]}`",
        f"{weights / 1e6:.1f} M",
        f"{model.size} px",
        f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB",
        f"`{digest(path)}`",
    )
    return f"| {' | '.join(cells)} |"


def _line(step: Step, record: Record, interrupted: int, data: Path, work: Path) -> str:
    """A step's time and command."""
    note = f"  (after {counted(interrupted, 'interruption')})" if interrupted else ""
    return f"    {duration(record.steps[step.name]['seconds'])}  {_shown(step, data, work)}{note}"


def _origin(extent: Extent, steps: list[dict[str, Any]], interrupted: int) -> str:
    """By what the steps were made, and how long they took."""
    import keras

    codes = sorted({step["code"] for step in steps})
    text = (
        f"The steps took {duration(sum(step['seconds'] for step in steps))} on {os.cpu_count()} processors under "
        f"{keras.backend.backend()} and Keras {keras.__version__}, {date.today():%d %B %Y}, by morph {__version__} "
        f"(source {', '.join(codes)}; {code_digest()} wrote this card)."
    )
    if interrupted:
        text += " Of an interrupted step, the time after its last interruption counts."
    if not extent.whole:
        text += "\n\nThis is a part of the recipe, run as a test: these are not the weights that ship."
    return text


def _shown(step: Step, data: Path, work: Path) -> str:
    """A step's command; without the names of single images, which a part of the recipe gives."""
    words = [
        word for word in step.words if not word.startswith(f"{data}{os.sep}") or Path(word).suffix not in _PICTURES
    ]
    text = " ".join(words if step.action else ("morph", *words))
    return text.replace(f"{data}{os.sep}", "$MORPH_DATA/").replace(f"{work}{os.sep}", "data/")


_PICTURES = (".jpg", ".jpeg", ".png")


def count(dataset: Path) -> int:
    """How many galaxies a dataset has."""
    return sum(pq.read_metadata(part).num_rows for part in dataset.glob("*.parquet"))
