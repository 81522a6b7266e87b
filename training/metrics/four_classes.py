"""The four classes of Galaxy Zoo 1: elliptical, spiral, edge-on disk, merger (Lintott et al. 2008).

The scheme in which surveys with hard classes can be compared, whatever tree their labels came from. Galaxy Zoo 1 asked
for spirals seen edge-on and got every needle: half of its edge-on galaxies look smooth and cigar-shaped to a model
that was taught Galaxy Zoo 2's answers too (on its validation split, 28 % of them are found as disks seen edge-on, and
80 % with cigars). So a smooth cigar counts as edge-on here, in votes and in predictions alike.

Not every set of labels can express all four. Where nobody was asked about merging, a pair of galaxies is labelled by
what else it looks like, and a model that calls it a merger is not wrong for that. So mergers are left out where the
labels cannot express them, and all four where the labels do not tell edge-on disks from others.
"""

import numpy as np

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.votes import vote_counts

FOUR_CLASSES = ("elliptical", "spiral", "edge-on", "merger")

_ROOT, _EDGE = TREE.slices["smooth-or-featured"], TREE.slices["disk-edge-on"]
_ROUNDED = TREE.slices["how-rounded"]
_MERGING, _ODD = TREE.slices["merging"], TREE.slices["odd-feature"]
#: Where a volunteer calls a pair of galaxies a merger or a strongly disturbed one is a matter of taste.
_MERGER = ("merging_major-disturbance", "merging_merger")


def expressed(votes: np.ndarray) -> tuple[str, ...]:
    """The classes that these galaxies' labels can express: all of `FOUR_CLASSES`, those without the merger, or none.

    Spirals and edge-on disks are told apart only where somebody was asked about both features and edge-on disks.
    Mergers need votes on merging, or on odd features with somebody's for a merger: labels such as "ring or no ring"
    use that question and do not have the answer.

    Parameters
    ----------
    votes : [n, vote columns], NaN where nobody was asked.
    """
    total = vote_counts(votes).sum(axis=0)
    given = tuple(column for column, votes_of in zip(VOTE_COLUMNS, total, strict=True) if votes_of > 0)

    def asked(*names: str) -> bool:
        return any(column.startswith(names) for column in given)

    if not (asked("smooth-or-featured_smooth", "smooth-or-featured_featured") and asked("disk-edge-on_")):
        return ()
    return FOUR_CLASSES if asked("merging_", "odd-feature_merger") else FOUR_CLASSES[:-1]


def left_out(votes: np.ndarray) -> str:
    """One sentence on what `expressed` leaves out; empty where that is nothing, or nobody was asked about features."""
    classes = expressed(votes)
    if not classes and np.nansum(votes[:, _ROOT]) > 0:
        return "Nobody was asked about edge-on disks, so the labels do not tell the four classes apart."
    if classes and "merger" not in classes:
        return (
            "The labels say nothing of merging: mergers are left out of the four classes, and a galaxy that the model "
            "calls one counts as what it would be otherwise."
        )
    return ""


def four_classes(probabilities: np.ndarray, mergers: bool = True) -> np.ndarray:
    """Probabilities of the four classes, down the tree.

    A merger is a merger whatever it is made of; what does not merge is edge-on if it is a disk seen so or a smooth
    cigar, elliptical if otherwise smooth, and a spiral if otherwise featured. The chance of an artefact is shared out
    in proportion.

    Parameters
    ----------
    probabilities : [n, answers], each question summing to one.
    mergers : whether to tell them apart; if not, a merger is what it would be otherwise (see `expressed`).

    Returns
    -------
    [n, 4] in the order of `FOUR_CLASSES`, rows summing to one.
    """
    p = np.asarray(probabilities, dtype=float)
    smooth, featured = p[:, ANSWERS.index("smooth-or-featured_smooth")], p[:, _ROOT.start + 1]
    edge_on, cigar = (p[:, ANSWERS.index(name)] for name in ("disk-edge-on_yes", "how-rounded_cigar-shaped"))
    merger = p[:, [ANSWERS.index(name) for name in _MERGER]].sum(axis=1)
    return _classes(smooth, cigar, featured, edge_on, merger * mergers)


def four_classes_of_votes(votes: np.ndarray) -> np.ndarray:
    """Shares of the volunteers for the four classes, as far as their votes tell.

    Mergers are read from the question on merging or, in Galaxy Zoo 2, from the odd features. Rows are NaN
    where the votes do not decide between the classes, or where most saw an artefact.

    Parameters
    ----------
    votes : [n, vote columns], NaN where nobody was asked.

    Returns
    -------
    [n, 4] in the order of `FOUR_CLASSES`.
    """
    counts = vote_counts(votes).astype(float)
    root = _shares(counts[:, _ROOT])
    edge_on = _shares(counts[:, _EDGE])[:, 0]
    rounded = np.column_stack([counts[:, _ROUNDED], counts[:, VOTE_COLUMNS.index("how-rounded_not-cigar")]])
    # A hard class that says smooth and nothing of the shape is called elliptical.
    cigar = np.nan_to_num(_shares(rounded)[:, 2])
    # Coarse answers such as "some disturbance" are votes on merging too, though none for a merger.
    coarse = [i for i, name in enumerate(VOTE_COLUMNS) if i >= len(ANSWERS) and name.startswith("merging_")]
    merging = _shares(np.column_stack([counts[:, _MERGING], counts[:, coarse]]))[:, 2:4].sum(axis=1)
    odd = counts[:, _ODD]
    odd_merger = _shares(odd)[:, TREE["odd-feature"].answers.index("merger")]
    merger = np.where(np.isfinite(merging), merging, np.nan_to_num(odd_merger))
    smooth, featured, artefact = root.T
    # Nobody needs to have been asked about the disk of a galaxy that nobody saw a disk in.
    edge_on = np.where(featured == 0, 0.0, edge_on)
    shares = _classes(smooth, cigar, featured, edge_on, merger)
    shares[artefact > 0.5] = np.nan
    # A hard class "merger" says nothing on smooth or featured, and need not.
    shares[np.isnan(smooth) & (merger > 0.5)] = [0, 0, 0, 1]
    # Nor does Galaxy Zoo 1's "edge-on".
    shares[np.isnan(smooth) & ~(merger > 0.5) & (edge_on > 0.5)] = [0, 0, 1, 0]
    return shares


def _shares(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def _classes(
    smooth: np.ndarray, cigar: np.ndarray, featured: np.ndarray, edge_on: np.ndarray, merger: np.ndarray
) -> np.ndarray:
    galaxy = smooth + featured
    needle = featured * edge_on + smooth * cigar
    single = np.column_stack([smooth * (1 - cigar), featured * (1 - edge_on), needle]) * (1 - merger)[:, None]
    classes = np.column_stack([single, galaxy * merger])
    with np.errstate(invalid="ignore", divide="ignore"):
        return classes / classes.sum(axis=1, keepdims=True)
