"""The three questions of Dominguez Sanchez et al. (2019): smooth or disk, edge-on, bar.

They carried models from SDSS to DES and measured them on these, on galaxies whose volunteers agree, so that a transfer
is best compared with theirs in the same terms. A bar is a bar there, be it strong or weak.
"""

import numpy as np

from morph.decision_tree import COARSE, VOTE_COLUMNS, question_of

#: Question of the shared tree: what it is called among the three.
THREE_QUESTIONS = {"smooth-or-featured": "smooth or disk", "disk-edge-on": "edge-on", "bar": "bar"}

_BAR = "bar_strong-or-weak"
_ARTIFACT = VOTE_COLUMNS.index("smooth-or-featured_artifact")


def three_questions(votes: np.ndarray) -> np.ndarray:
    """Votes on the three questions alone, strong and weak bars as one answer, mostly artefacts left out.

    Parameters
    ----------
    votes : [n, vote columns], NaN where nobody was asked.

    Returns
    -------
    The same shape, which `training.metrics.votes.measure` takes.
    """
    asked = [question_of(column) in THREE_QUESTIONS for column in VOTE_COLUMNS]
    kept = np.where(asked, votes, np.nan).astype("float32")
    members = [VOTE_COLUMNS.index(name) for name in COARSE[_BAR]]
    union = VOTE_COLUMNS.index(_BAR)
    bars = np.nansum(kept[:, [*members, union]], axis=1)
    kept[:, union] = np.where(np.isfinite(kept[:, [*members, union]]).any(axis=1), bars, np.nan)
    kept[:, members] = np.where(np.isfinite(kept[:, members]), 0.0, np.nan)
    root = kept[:, _ARTIFACT - 2 : _ARTIFACT + 1]
    artefact = np.nan_to_num(root[:, 2]) > np.nan_to_num(root[:, :2]).max(axis=1)
    kept[artefact] = np.nan
    kept[:, _ARTIFACT] = np.where(np.isfinite(kept[:, _ARTIFACT]), 0.0, np.nan)
    return kept
