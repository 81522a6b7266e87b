"""The conditions of the latent prior: everything that may be known of a galaxy but its image, in one row of numbers.

NaN is free: nothing is said about it. The columns, in the order of `CONDITIONS`:

- one for each vote column (`morph.decision_tree.VOTE_COLUMNS`): the share of its question's votes, 0 to 1;
- ``votes_<question>``: the number of votes on that question, which says how sure its shares are;
- ``mag_g``, ``mag_r``, ``mag_i``: magnitudes; ``radius``: half-light radius in arcsec; ``redshift``;
- ``survey``: the place of the survey that observes it in `morph.surveys.SURVEYS`;
- ``composite``: 1 for a colour picture, 0 for calibrated flux.
"""

from collections.abc import Iterable

import numpy as np
from keras import ops

from morph.dataset_writer import KINDS
from morph.decision_tree import TREE, VOTE_COLUMNS, question_membership
from morph.model.experts import CENTRE, ENOUGH_VOTES, MEASUREMENTS, SPREAD
from morph.surveys import SURVEYS
from morph.votes import vote_counts

#: The columns of the conditions.
CONDITIONS = (*VOTE_COLUMNS, *(f"votes_{question.name}" for question in TREE), *MEASUREMENTS, "survey", "composite")
#: Room for surveys: more than there are, so that a new one leaves the weights as they are.
MOST_SURVEYS = 16
#: How many features `condition_features` makes of them: each vote column and number of votes and whether it is known,
#: seven measurements and whether they are, the surveys, and the kind of image.
FEATURES = 2 * (len(VOTE_COLUMNS) + len(TREE)) + 2 * 7 + MOST_SURVEYS + 2

_SHARES = slice(0, len(VOTE_COLUMNS))
_NUMBERS = slice(_SHARES.stop, _SHARES.stop + len(TREE))
_MEASURED = slice(_NUMBERS.stop, _NUMBERS.stop + len(MEASUREMENTS))
SURVEY, _COMPOSITE = CONDITIONS.index("survey"), CONDITIONS.index("composite")
#: The question of each vote column, as its place in the tree.
_QUESTION = question_membership().argmax(axis=1)
#: Middle and spread of r, g - r, r - i, log10 of the radius, ln of the redshift, g and i.
_MIDDLE = np.array([*CENTRE, CENTRE[0] + CENTRE[1], CENTRE[0] - CENTRE[2]], dtype="float32")
_WIDTH = np.array([*SPREAD, SPREAD[0], SPREAD[0]], dtype="float32")
#: The least value with a logarithm, and the farthest that a standardised measurement lies from the middle.
_TINY, _FAR = 1e-6, 6.0


def encode_conditions(
    n: int,
    votes: np.ndarray | None = None,
    measurements: np.ndarray | None = None,
    surveys: Iterable[str] | None = None,
    kind: str | None = None,
) -> np.ndarray:
    """The conditions of `n` galaxies; what is not given is free.

    Parameters
    ----------
    n : how many galaxies.
    votes : [n, vote columns], counts; NaN or 0 throughout a question that was not asked.
    measurements : [n, 5] as `morph.model.experts.MEASUREMENTS`: magnitudes, arcsec, redshift; NaN where unknown.
    surveys : their names in `morph.surveys.SURVEYS`, [n].
    kind : one of `morph.dataset_writer.KINDS`.

    Returns
    -------
    float32 [n, conditions].
    """
    found = np.full((n, len(CONDITIONS)), np.nan, dtype="float32")
    if votes is not None:
        counts = vote_counts(votes)
        total = counts @ question_membership()
        total[total == 0] = np.nan
        found[:, _SHARES], found[:, _NUMBERS] = counts / total[:, _QUESTION], total
    if measurements is not None:
        found[:, _MEASURED] = measurements
    if surveys is not None:
        found[:, SURVEY] = survey_places(surveys)
    if kind is not None:
        found[:, _COMPOSITE] = float(list(KINDS).index(kind))
    return found


def condition_features(conditions, surveys):
    """The conditions as a network reads them: standardised, 0 where free, and beside them what is known.

    Parameters
    ----------
    conditions : float32 [n, conditions].
    surveys : float32 [`MOST_SURVEYS`], 1 for the surveys that were trained on; any other counts as free.

    Returns
    -------
    float32 [n, features].
    """
    known = 1.0 - ops.cast(ops.isnan(conditions), "float32")
    filled = ops.where(ops.isnan(conditions), 0.0, conditions)
    mag_g, mag_r, mag_i, radius, redshift = ops.unstack(filled[:, _MEASURED], axis=1)
    has_g, has_r, has_i, has_radius, has_redshift = ops.unstack(known[:, _MEASURED], axis=1)
    measured = [mag_r, mag_g - mag_r, mag_r - mag_i, _log(radius) / np.log(10.0), _log(redshift), mag_g, mag_i]
    has = ops.stack([has_r, has_g * has_r, has_r * has_i, has_radius, has_redshift, has_g, has_i], axis=1)
    values = (ops.stack(measured, axis=1) - _MIDDLE) / _WIDTH
    composite = known[:, _COMPOSITE, None]
    return ops.concatenate(
        [
            filled[:, _SHARES],
            ops.minimum(filled[:, _NUMBERS] / ENOUGH_VOTES, 1.0),
            known[:, : _NUMBERS.stop],
            ops.clip(values, -_FAR, _FAR) * has,
            has,
            survey_features(conditions[:, SURVEY], surveys),
            composite,
            composite * (2.0 * filled[:, _COMPOSITE, None] - 1.0),
        ],
        axis=1,
    )


def survey_features(places, surveys):
    """Which survey each galaxy is in, as a network reads it: float32 [n, `MOST_SURVEYS`], all 0 where it is free.

    Parameters
    ----------
    places : float32 [n], as in the conditions.
    surveys : as for `condition_features`.
    """
    # NaN equals nothing.
    return ops.cast(ops.equal(places[:, None], np.arange(MOST_SURVEYS, dtype="float32")), "float32") * surveys


def survey_places(surveys: Iterable[str]) -> np.ndarray:
    """The places of surveys in `morph.surveys.SURVEYS`, as in the conditions: float32 [n]."""
    places = {name: place for place, name in enumerate(SURVEYS)}
    return np.array([places.get(name, np.nan) for name in surveys], dtype="float32")


def trained_surveys(places: np.ndarray) -> np.ndarray:
    """1 for each survey that some galaxies are in, 0 for the others: float32 [`MOST_SURVEYS`]."""
    return np.isin(np.arange(MOST_SURVEYS), places).astype("float32")


def _log(values):
    return ops.log(ops.maximum(values, _TINY))
