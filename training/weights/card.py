"""The model card of the weights that ship: every figure in it is measured when it is written."""

from collections.abc import Sequence

from morph.sizes import FIELD, NETWORK_SIZE
from training.evaluation import tables
from training.evaluation.evaluate import Evaluation, title_of
from training.evaluation.tables import COLUMNS, LEGEND, evaluation_lines, show

#: What is true of weights that shipped and not of the command on their card, by `training.weights.publish.digest`.
HISTORY = {
    "7bf5df0d0158d34169fa064ed1443218": (
        "These weights were not made by those commands from nothing: they are the release before them, which was,\n"
        "trained on for 24 epochs of 250 batches at half the peak learning rate, after Galaxy Zoo 1's edge-on "
        "galaxies\nwere no longer taught as featured. Their teacher were the weights of an earlier release.\n\n"
        "What the anomaly score knows of galaxies in one or two bands was added later, by\n"
        "`python -m training.weights.bands`: the two simulated sets taught it what is strange, their validation\n"
        "splits and 2,000 more simulated galaxies set its p-value. All other weights are as they were."
    ),
}

#: What was chosen with the test figures in sight: empty once other galaxies are held out.
AFTERTHOUGHT = """\
One choice was made after a look at an earlier release's test figures: that a smooth cigar counts as edge-on among the
four classes (see `training/metrics/categories.py`). It was settled on validation galaxies, but a first test
figure (gz1: 81.4 %, balanced 62.7 %, with the narrower class) had shown that something was amiss. That Galaxy Zoo 1's
edge-on class no longer teaches "featured" follows from it.
"""

_HEAD = """# Model card: `morph/weights/sdss.keras`

A multimodal variational autoencoder of {parameters} M weights with decision-tree heads. It reads {size} x {size} pixel
stamps, {field:.0f} half-light radii across, in three bands or as a colour picture. Its registered name is
`models:/morph@sdss`.

## Made by

    {command}

with `MORPH_DATA` naming a folder that holds the public releases below. Every step it takes is a `morph` verb; the
last is

    {last}

## Taught with

| set | galaxies | what of it |
|---|---|---|
| SDSS composites with Galaxy Zoo 1 classes (Lintott et al. 2008) | {gz1} | one vote a galaxy |
| SDSS composites with Galaxy Zoo 2 votes (Willett et al. 2013, Hart et al. 2016) | {gz2} | all eleven questions |
| SDSS composites, unlabelled | {unlabelled} | the reconstruction, and the votes a teacher expects |
| SDSS composites of spirals, 0.2 arcsec a pixel | {spirals} | the same; their own labels are not read (see limits) |
| simulated galaxies observed as SDSS, "balanced" mix | {sim_sdss} | all questions, magnitudes, radius, redshift |
| simulated galaxies observed as DES, "survey" mix | {sim_des} | the reconstruction, magnitudes, radius, redshift |

Galaxies are split by a hash of their id: 70 % to train, 10 % to watch and to set the anomaly score's reference,
20 % to test. Galaxies that also occur in a labelled set's held-out part, found by their looks, are left out of the
unlabelled sets. The teacher is a model of the same kind trained without one; it looks at each galaxy eight ways and
its votes count as eight volunteers'. Galaxy Zoo 1's "unknown" class counts as "artifact" and is kept out of the
reconstruction.
{history}
## Measured

On test galaxies that training has not seen. {legend}
{afterthought}"""

_TAIL = """
## Limits

- Galaxy Zoo 1 gives one hard, noisy label a galaxy: part of what counts as error here is the label's.
- It answers as volunteers see the picture (raw votes), not as they would nearer by (debiased;
  `docs/explanation/methods.md`).
- Few galaxies carry votes on bars, spiral arms, bulges and odd features; those heads lean on simulated galaxies, and
  the small samples above have wide intervals. Mergers are the rarest real class.
- The simulation's colours and sizes were set by the medians of about ninety pictures of each Galaxy Zoo 1 class, drawn
  without regard to the split, and its votes by the published Galaxy Zoo 2 and DECaLS tables.
- The set of spirals shows them at a scale of its own; its labels are not used, since they would teach that scale.
- Colour pictures of other surveys enter by the same door, but their answers are less certain: fine-tune on a few
  hundred labels before believing them (`docs/explanation/real-surveys.md`).
- The anomaly p-value holds for galaxies like those it was set on: bright nearby ones in SDSS, and simulated ones in
  SDSS and DES where flux comes in one or two bands. Fine-tuning sets it anew for the target survey. Faint galaxies
  were not among them: of the sources detected on a simulated DES tile, most with a signal to noise below 30 are
  flagged.
- What the model infers of magnitudes, sizes and redshifts it learned from simulated galaxies alone.
- Galaxies smaller than about three pixels in half-light radius show their brightness and shape, not their structure.

## Credit

Images: Sloan Digital Sky Survey. Labels: the volunteers of Galaxy Zoo (Lintott et al. 2008; Willett et al. 2013;
Hart et al. 2016). The votes' likelihood follows Walmsley et al. (2020).
"""


def card(
    classifier, evaluations: Sequence[Evaluation], counts: dict[str, int], command: str, last: str, history: str = ""
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    evaluations : on the test split of each labelled set.
    counts : galaxies in each set: gz1, gz2, unlabelled, spirals, sim_sdss, sim_des.
    command, last : what made the weights, as typed.
    history : what else is to be said of how they were made.
    """
    head = _HEAD.format(
        parameters=f"{classifier.count_params() / 1e6:.1f}",
        size=NETWORK_SIZE,
        field=FIELD,
        command=command,
        last=last,
        legend=f"{LEGEND} {tables.CALIBRATION_LEGEND}",
        history=f"\n{history}\n" if history else "",
        afterthought=f"\n{AFTERTHOUGHT}" if AFTERTHOUGHT else "",
        **{name: f"{count:,}" for name, count in counts.items()},
    )
    return head + "".join(_section(evaluation) for evaluation in evaluations) + _TAIL


def _section(evaluation: Evaluation) -> str:
    lines = ["", f"### {title_of(evaluation)}", "", "| question | n | " + " | ".join(c[1] for c in COLUMNS) + " |"]
    lines.append("|---|---|" + "---|" * len(COLUMNS))
    for question in evaluation.questions():
        n = evaluation.figures[f"{question}/accuracy"].n
        cells = [show(evaluation.figures.get(f"{question}/{name}"), percent) for name, _, percent in COLUMNS]
        lines.append(f"| {question} | {n:,} | " + " | ".join(cells) + " |")
    notes = [line for line in evaluation_lines(evaluation) if line != LEGEND]
    return "\n".join([*lines, "", *notes, *_calibration(evaluation), ""])


def _calibration(evaluation: Evaluation) -> list[str]:
    titles = [title for _, title, _ in tables.CALIBRATION_COLUMNS]
    rows = [["question", "n", *titles], ["---"] * (2 + len(titles)), *tables.calibration_rows(evaluation)]
    notes = tables.calibration_lines(evaluation)
    return ["", *("| " + " | ".join(row) + " |" for row in rows), "", *notes[1:]] if notes else []
