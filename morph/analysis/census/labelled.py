"""The labelled galaxies that a correction stands on: a dataset with votes, scored by the model that made the scores.

Galaxies that the model was trained on are left out, since it answers them better than any others. Beside every galaxy
as it is there are degraded copies, smaller and fainter as the same survey would see them, with the volunteers' answers
to the galaxy as it was shown to them.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.analysis.census.classes import CLASSES, classes_of_answers, classes_of_votes, index_of
from morph.analysis.census.correction import Labelled
from morph.analysis.census.rows import Scores
from morph.analysis.census.visibility import SNRS
from morph.atomic import atomic
from morph.console import counted, track
from morph.dataset import Galaxies, find_dataset, is_dataset, split_position
from morph.decision_tree import tree_probabilities
from morph.errors import InputError
from morph.sizes import STAMP_SIZE
from morph.stamps.stretch import centre_crop
from morph.votes import difference, has_votes, kinds_of

if TYPE_CHECKING:
    from morph.model.training_record import TrainingRecord

#: Degraded copies of each galaxy, and the most galaxies that are used.
COPIES, MOST = 6, 2000

#: Fewer labelled galaxies than this say nothing about a sample.
FEWEST = 50

#: The version of the file's format, and the key of its provenance.
FORMAT, KEY = 1, b"morph-labelled"


def open_labelled(path: str | Path, model: str, scores: Scores) -> tuple[Labelled, list[str]]:
    """Labelled galaxies from a dataset, which is scored, or from the file of an earlier census.

    Parameters
    ----------
    path : the dataset or the file.
    model : the model that made the scores; not needed with a file.
    scores : what is to be corrected.

    Returns
    -------
    The galaxies, and what a user should know about them.

    Raises
    ------
    InputError : there are none, they are of another survey or model than the scores, or too few are left.
    """
    if Path(path).is_file():
        labelled = read_labelled(Path(path))
        notes = _check_model(scores, str(labelled.about["weights"]), str(path))
        _check_survey(scores, labelled.about["survey"], path)
        return labelled, notes
    if not is_dataset(path) and not Path(path).exists():
        raise InputError(
            f"There are no labelled galaxies at '{path}'; give --correct a dataset with votes (`morph import`), or "
            "the labelled.parquet of an earlier census."
        )
    if not model:
        raise InputError(
            f"--correct {path} needs --model, the model that made the scores"
            f"{_named(scores)}: it scores the labelled galaxies too."
        )
    return score_labelled(find_dataset(path), model, scores)


def score_labelled(path: Path, name: str, scores: Scores) -> tuple[Labelled, list[str]]:
    """Score the labelled galaxies of a dataset, and degraded copies of them.

    Parameters
    ----------
    path : the dataset.
    name : of the model.
    scores : what is to be corrected, for its survey and model.

    Returns
    -------
    The galaxies, and notes: how many are left out and why, and what was assumed.
    """
    # These load Keras, which a census without a dataset has no use for.
    from morph.model.store import load_model
    from morph.training_record import TrainingRecord

    model = load_model(name)
    notes = _check_model(scores, model.digest, name)
    record = TrainingRecord.from_text(model.seen)
    files = sorted(path.glob("part-*.parquet"))
    masks, counts = _chosen(path, files, record)
    if counts["used"] < FEWEST:
        raise InputError(
            f"'{path}' has {counted(counts['used'], 'labelled galaxy', 'labelled galaxies')} that '{name}' was not "
            f"trained on ({counts['labelled']:,} it was trained on); a correction needs at least {FEWEST}."
        )
    headers = [
        Galaxies.open(path, images=False, parts=[file]).select(mask) for file, mask in zip(files, masks, strict=True)
    ]
    surveys = sorted({survey for each in headers for survey in each.surveys.tolist()})
    _check_survey(scores, surveys, path)
    kind, said = _kind_of_votes(headers, path, str(model.about.get("votes") or ""))
    known_scale = all(np.isfinite(each.properties["pixel_scale"]).all() for each in headers)
    parts: list[dict[str, np.ndarray]] = []
    first = 0
    for file, mask in track(zip(files, masks, strict=True), "scoring labelled galaxies", len(files)):
        if mask.any():
            parts.append(_scored(model, Galaxies.open(path, parts=[file]).select(mask), first))
            first += int(mask.sum())
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    about = {
        "format": FORMAT,
        "dataset": str(path),
        "model": name,
        "weights": model.digest,
        "survey": surveys,
        "votes": kind,
        "simulated": headers[0].simulated,
        "galaxies": counts["used"],
        "copies": COPIES,
    }
    return Labelled(about=about, **columns), notes + said + _notes(counts, record.complete, known_scale, path)


def save_labelled(labelled: Labelled, path: Path) -> None:
    """Write what a later census with ``--correct`` reads again."""
    width = len(CLASSES)
    table = pa.table(
        {
            "galaxy": pa.array(labelled.galaxy),
            "copy": pa.array(labelled.copy),
            "size": pa.array(labelled.size),
            "snr": pa.array(labelled.snr),
            **{
                name: pa.FixedSizeListArray.from_arrays(pa.array(values.astype("float32").ravel()), width)
                for name, values in (("answers", labelled.answers), ("truth", labelled.truth))
            },
        }
    ).replace_schema_metadata({KEY: json.dumps(labelled.about).encode()})
    with atomic(path) as building:
        pq.write_table(table, building, compression="zstd")


def read_labelled(path: Path) -> Labelled:
    """Read what `save_labelled` wrote. InputError where it is something else, or of another version."""
    try:
        table = pq.read_table(path)
        about: dict[str, Any] = json.loads((table.schema.metadata or {})[KEY])
        flat = {
            name: table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
            for name in ("answers", "truth")
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"'{path}' does not hold the labelled galaxies of a census ({type(error).__name__}); give --correct a "
            "dataset with votes, or the labelled.parquet that an earlier census wrote."
        ) from None
    if about.get("format") != FORMAT or flat["answers"].shape[1] != len(CLASSES):
        raise InputError(f"'{path}' was written by another version of morph; give --correct its dataset again.")
    columns = {name: table[name].to_numpy() for name in ("galaxy", "copy", "size", "snr")}
    return Labelled(about=about, **columns, **flat)


def _chosen(path: Path, files: list[Path], record: "TrainingRecord") -> tuple[list[np.ndarray], dict[str, int]]:
    """The galaxies of each file that are used, bool [n] each, and how many there are of each kind.

    They have votes on the first question, and the model was not trained on them; of more than `MOST` those count whose
    names come first by a hash.
    """
    root = index_of("smooth-or-featured_smooth")
    usable, places, held = [], [], []
    counts = dict.fromkeys(("labelled", "held out", "without votes", "beyond", "used"), 0)
    for file in files:
        galaxies = Galaxies.open(path, parts=[file])
        voted = has_votes(galaxies.votes) & np.isfinite(classes_of_votes(galaxies.votes)[:, root])
        roles = record.roles(galaxies)
        counts["without votes"] += int((~voted).sum())
        counts["labelled"] += int((voted & (roles == "labelled")).sum())
        usable.append(voted & (roles != "labelled"))
        held.append(roles == "held out")
        places.append(split_position(galaxies.ids, seed=1))
    order = np.sort(np.concatenate([place[some] for place, some in zip(places, usable, strict=True)]))
    last = order[:MOST][-1] if len(order) else 0.0
    masks = [some & (place <= last) for place, some in zip(places, usable, strict=True)]
    counts["used"] = int(sum(mask.sum() for mask in masks))
    counts["beyond"] = len(order) - counts["used"]
    counts["held out"] = int(sum((mask & each).sum() for mask, each in zip(masks, held, strict=True)))
    return masks, counts


def _kind_of_votes(headers: list[Galaxies], path: Path, of_model: str) -> tuple[str, list[str]]:
    """Whether the votes are raw or debiased, empty where it is not known, and a note where the model's are the other
    kind. InputError where some are of each."""
    kinds = kinds_of(headers)
    if len(kinds) > 1:
        raise InputError(f"'{path}' has raw votes and debiased ones; correct with galaxies of one kind.")
    kind = next(iter(kinds), "")
    differ = bool(kind and of_model and kind != of_model)
    return kind, [difference(of_model, kind, "the labelled galaxies' votes")] if differ else []


def _scored(model, galaxies: Galaxies, first: int) -> dict[str, np.ndarray]:
    """The columns of `Labelled` of some galaxies, whose numbers begin at `first`."""
    from morph.simulation.degraded import degraded_copies, how_well_seen

    number = np.arange(first, first + len(galaxies))
    truth = classes_of_votes(galaxies.votes).astype("float32")
    found = []
    if galaxies.size > STAMP_SIZE:
        galaxies = galaxies.with_columns(image=centre_crop(galaxies.images, STAMP_SIZE))
    for copy in range(COPIES + 1):
        images, (size, snr) = galaxies.images, how_well_seen(galaxies)
        if copy:
            seen = degraded_copies(galaxies, seed=copy)
            images, size, snr = seen.images, seen.size, seen.snr
        answers = model.answer(images)["probabilities"]
        found.append(
            {
                "galaxy": number,
                "copy": np.full(len(number), copy),
                "answers": classes_of_answers(tree_probabilities(answers)),
                "truth": truth,
                "size": size,
                "snr": np.nan_to_num(snr, nan=SNRS[0]),
            }
        )
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _check_model(scores: Scores, digest: str, name: str) -> list[str]:
    """Notes on whether the scores are by this model. InputError when they are by another."""
    weights = [str(each) for each in scores.about.get("weights", [])]
    versions = [str(each) for each in scores.about.get("model_version", [])]
    if len(weights) > 1 or len(versions) > 1:
        raise InputError(
            f"The scores in '{scores.path}' are by several models ({', '.join(versions or weights)}); correct those "
            "of one at a time."
        )
    if weights and digest and weights[0] != digest:
        raise InputError(
            f"The scores in '{scores.path}' are by the model{_named(scores)}, with the weights {weights[0][:12]}, and "
            f"not by '{name}' ({digest[:12]}); a correction needs labelled galaxies that the same model scored."
        )
    if not weights and not any(digest.startswith(each) for each in versions if len(each) >= 8):
        return [f"The scores do not record the weights of their model; that they are by '{name}' is taken on trust."]
    return []


def _check_survey(scores: Scores, surveys: list[str], path: str | Path) -> None:
    if scores.surveys and {*surveys} != {*scores.surveys}:
        raise InputError(
            f"The galaxies in '{path}' are of {', '.join(surveys)} and the scores of {', '.join(scores.surveys)}: a "
            "model answers each survey's images differently, so label galaxies of the scores' own survey."
        )


def _named(scores: Scores) -> str:
    models = [str(each) for each in scores.about.get("model", [])]
    versions = [str(each) for each in scores.about.get("model_version", [])]
    return f" ({' '.join([*models[:1], *versions[:1]])})" if models else ""


def _notes(counts: dict[str, int], complete: bool, known_scale: bool, path: Path) -> list[str]:
    notes = []
    if counts["labelled"]:
        notes.append(f"{counts['labelled']:,} labelled galaxies are left out: the model was trained on them.")
    if counts["beyond"]:
        notes.append(f"{counts['used']:,} of {counts['used'] + counts['beyond']:,} labelled galaxies are used.")
    if counts["held out"]:
        notes.append(
            f"{counts['held out']:,} of the {counts['used']:,} labelled galaxies set the model's calibration, a "
            "few numbers a question, and are used all the same."
        )
    if not complete:
        notes.append(
            "The model has no complete record of its training galaxies: if the labelled galaxies are among them, the "
            "correction is too small."
        )
    if counts["without votes"]:
        notes.append(f"{counts['without votes']:,} galaxies of '{path}' have no votes on smooth or featured.")
    if not known_scale:
        notes.append(
            f"'{path}' does not say how large its galaxies are on the sky; they count as 12 pixels of their survey in "
            "half-light radius."
        )
    return notes
