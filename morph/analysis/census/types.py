"""A continuous type: a galaxy's place on the Hubble sequence, on the scale of de Vaucouleurs' T.

The answers of the decision tree are ordered, and each path down the tree has a place on the scale (`SCALE`). A
galaxy's type is the mean of these places, weighted by the probabilities of the paths; its standard error follows from
those of the probabilities, which are Dirichlet distributions, one a question. What is no galaxy, "artifact", does not
count.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import COARSE, TREE, VOTE_COLUMNS

#: Places on the scale: E -5, S0 -2, Sa 1, Sb 3, Sc 5, Sd 7. Of disks the bulge counts; of those without arms, from
#: S0 to S0/a.
SCALE: dict[str, dict[str, float]] = {
    "how-rounded": {"round": -5, "in-between": -4, "cigar-shaped": -3},
    "edge-on-bulge": {"rounded": 2, "boxy": 3, "none": 6},
    "bulge-size": {"dominant": 1, "large": 2, "moderate": 3, "small": 5, "none": 7},
}

#: The same for disks without arms, by their bulge.
WITHOUT_ARMS = {"dominant": -2.0, "large": -1.5, "moderate": -1.0, "small": 0.0, "none": 1.0}

#: Questions that place a galaxy, from the leaves of the tree to its root.
USED = ("how-rounded", "edge-on-bulge", "bulge-size", "has-spiral-arms", "disk-edge-on", "smooth-or-featured")


@dataclass(frozen=True)
class Types:
    """Types of galaxies: `type` [n] on the scale of T, and its standard error `sigma` [n]; NaN where not known."""

    type: np.ndarray
    sigma: np.ndarray


def types_of(probabilities: np.ndarray, votes_worth: np.ndarray) -> Types:
    """The types of galaxies.

    Parameters
    ----------
    probabilities : of the answers, [n, answers], each question summing to one.
    votes_worth : how many votes a question's probabilities are worth (the sum of its Dirichlet concentrations),
        [n, questions]; NaN where not known.

    Examples
    --------
    >>> round_ = np.zeros((1, 42))
    >>> round_[0, [TREE.columns.index(name) for name in ("smooth-or-featured_smooth", "how-rounded_round")]] = 1
    >>> types_of(round_, np.full((1, 11), 20.0)).type.tolist()
    [-5.0]
    """
    p = {name: probabilities[:, TREE.slices[name]].astype(float) for name in USED}
    place = {name: np.array([SCALE[name][answer] for answer in TREE[name].answers]) for name in SCALE}
    bare = np.array([WITHOUT_ARMS[answer] for answer in TREE["bulge-size"].answers])
    arms, edge = p["has-spiral-arms"][:, 0], p["disk-edge-on"][:, 0]
    smooth, featured = p["smooth-or-featured"][:, 0], p["smooth-or-featured"][:, 1]
    galaxy = smooth + featured
    disk = np.divide(featured, galaxy, where=galaxy > 0, out=np.full_like(galaxy, np.nan))
    bulge = arms[:, None] * place["bulge-size"] + (1 - arms[:, None]) * bare
    # The mean place of those who give each answer, and the share of volunteers who are asked.
    spiral, plain = p["bulge-size"] @ place["bulge-size"], p["bulge-size"] @ bare
    face_on = arms * spiral + (1 - arms) * plain
    edge_on = p["edge-on-bulge"] @ place["edge-on-bulge"]
    disks = edge * edge_on + (1 - edge) * face_on
    ellipticals = p["how-rounded"] @ place["how-rounded"]
    found = disk * disks + (1 - disk) * ellipticals
    worth = {name: votes_worth[:, [question.name for question in TREE].index(name)] for name in USED}
    parts = (
        ((1 - disk), p["how-rounded"], np.broadcast_to(place["how-rounded"], p["how-rounded"].shape), "how-rounded"),
        (
            disk * edge,
            p["edge-on-bulge"],
            np.broadcast_to(place["edge-on-bulge"], (len(p["edge-on-bulge"]), 3)),
            "edge-on-bulge",
        ),
        (disk * (1 - edge), p["bulge-size"], bulge, "bulge-size"),
        (disk * (1 - edge), p["has-spiral-arms"], np.stack([spiral, plain], axis=1), "has-spiral-arms"),
        (disk, p["disk-edge-on"], np.stack([edge_on, face_on], axis=1), "disk-edge-on"),
    )
    variance = (disk * (1 - disk)) * (disks - ellipticals) ** 2 / (1 + worth["smooth-or-featured"] * galaxy)
    for asked, share, value, name in parts:
        mean = (share * value).sum(axis=1)
        spread = (share * value**2).sum(axis=1) - mean**2
        variance = variance + asked**2 * np.maximum(spread, 0) / (1 + worth[name])
    return Types(found, np.sqrt(variance))


def types_of_votes(votes: np.ndarray) -> Types:
    """The types that votes give galaxies: the order that volunteers see. Their standard errors are those of so many
    votes.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked. Votes for answers together count for each of them alike. Where a
        question that some volunteers reach has no votes, the type is NaN.
    """
    counts = np.nan_to_num(np.asarray(votes, dtype=float))
    answers = counts[:, : len(TREE.columns)].copy()
    for column, members in COARSE.items():
        split = counts[:, VOTE_COLUMNS.index(column)][:, None] / len(members)
        answers[:, [TREE.columns.index(member) for member in members]] += split
    shares = np.full(answers.shape, np.nan)
    for question in TREE:
        part = TREE.slices[question.name]
        total = answers[:, part].sum(axis=1, keepdims=True)
        # Where nobody came this far, the answers count for nothing, whatever they are.
        np.divide(answers[:, part], total, where=total > 0, out=shares[:, part])
    reach = _asked(shares)
    filled = np.where(np.isnan(shares) & (reach == 0), 1 / 3, shares)
    worth = np.stack([answers[:, part].sum(axis=1) for part in TREE.slices.values()], axis=1)
    return types_of(filled, worth)


def _asked(shares: np.ndarray) -> np.ndarray:
    """The share of volunteers who are asked each answer's question, [n, answers]; NaN where not known."""
    reach = np.ones_like(shares)
    for question in TREE:
        if parents := TREE.leading_to(question):
            asked = (reach[:, parents] * np.where(reach[:, parents] == 0, 0, shares[:, parents])).sum(axis=1)
            reach[:, TREE.slices[question.name]] = asked[:, None]
    return reach
