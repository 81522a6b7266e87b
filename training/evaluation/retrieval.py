"""How well the similarity vector finds galaxies of the same type, and what else its hits have in common.

Every galaxy asks for the nearest of all others in the set, itself left out, by the cosine of several vectors: the
similarity vector, and what one would take without it. Relevance is the share of volunteers who put a hit into the
query's class, or one and nought where labels are hard classes; the figure is nDCG@10 (Järvelin & Kekäläinen 2002).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.examples import combine
from morph.stamps.signal_to_noise import border
from training.fitting.adaptation import encode, views_of
from training.fitting.batches import linear
from training.metrics.categories import FOUR_CLASSES, four_classes_of_votes
from training.metrics.estimates import RESAMPLES, Estimate

if TYPE_CHECKING:
    from morph.model.classifier import Classifier
    from training.run import Run

#: Hits that count, and examples of a query by several.
HITS, EXAMPLES = 10, 5
#: Galaxies below which nothing is measured.
FEWEST = 20
#: The vectors, in the order of the table: the third is the square root of the probabilities down the tree, the last is
#: the mean of the features of eight views, the slow way.
VECTORS = SIMILARITY, EMBEDDING, PROBABILITIES, MEAN = "similarity", "embedding", "root of p", "8-view mean"
#: Queries whose cosines with all galaxies are computed at once.
CHUNK = 256
#: Light farther out than this, in half-widths of the image, belongs to a companion where it is brighter than the
#: galaxy's own at that radius.
OUTSIDE = 0.6


@dataclass(frozen=True)
class Retrieval:
    """What was found.

    Attributes
    ----------
    figures : with 95 % intervals, by flat name: ``ndcg/<class>/<vector>`` by one example and ``ndcg-5/...`` by five,
        ``type/<class>/<vector>`` (correlation of the shares of query and hit), ``first/<copy>/<vector>`` (copies whose
        first hit is the original), ``ten/survey/<vector>`` (the same galaxy in another survey is among the hits), and
        ``shared/<property>/<vector>``: correlation of a property of query and hits, or the share of hits of the
        query's survey. ``chance/<property>/<vector>`` is the same for random hits of the same classes.
    note : what it was measured on.
    """

    figures: dict[str, Estimate]
    note: str

    @property
    def rows(self) -> list[str]:
        """The figures without the vector, in order."""
        return list(dict.fromkeys(name.rpartition("/")[0] for name in self.figures))

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"note": self.note, "figures": {name: asdict(figure) for name, figure in self.figures.items()}}

    def log(self, run: "Run") -> None:
        """Put the similarity vector's figures into a run as metrics, and all as a document."""
        names = (name for name in self.figures if name.endswith(f"/{SIMILARITY}"))
        shown = {name.rpartition("/")[0]: self.figures[name] for name in names}
        run.log_metrics({f"retrieval/{row.replace(' ', '-')}": figure.value for row, figure in shown.items()})
        run.log_json(self.document(), "evaluation/retrieval.json")


def measure_retrieval(
    classifier: "Classifier", galaxies: Galaxies, paired: Galaxies | None = None, seed: int = 0
) -> Retrieval:
    """Measure what a query's nearest galaxies have in common with it.

    Parameters
    ----------
    classifier : whose vectors are compared.
    galaxies : queries and hits, already cut to their split.
    paired : the same galaxies as another survey sees them, by their ids; others in it are not read.
    seed : of the examples, the noise and the bootstrap.

    Returns
    -------
    The estimates, or a note where there are too few galaxies.

    Raises
    ------
    InputError : `paired` has none of the galaxies.
    """
    if len(galaxies) < FEWEST:
        note = f"Only {len(galaxies)} galaxies: too few to measure retrieval on ({FEWEST} is the least)."
        return Retrieval({}, note)
    random = np.random.default_rng(seed)
    shares = four_classes_of_votes(galaxies.votes)
    found, copies = _vectors(classifier, galaxies, random)
    figures: dict[str, Estimate] = {}
    for name, vectors in found.items():
        # The same examples for all vectors.
        rows = of_types(vectors, shares, np.random.default_rng(seed))
        figures |= {f"{row}/{name}": figure for row, figure in rows}
    for kind, copied in copies.items():
        for name in copied[0]:
            first = [nearest(each[name], found[name], hits=1)[:, 0] == np.arange(len(galaxies)) for each in copied]
            figures[f"first/{kind}/{name}"] = _mean(np.mean(first, axis=0), random)
    if paired is not None:
        figures |= _in_other_survey(classifier, galaxies, paired, found, random)
    properties = _properties(classifier, galaxies)
    types = np.where(np.isfinite(shares).all(axis=1), np.nan_to_num(shares).argmax(axis=1), -1)
    for name, vectors in found.items():
        for row, value, chance in _shared(nearest(vectors), properties, types, random):
            figures[f"shared/{row}/{name}"], figures[f"chance/{row}/{name}"] = value, chance
    return Retrieval(figures, _note(len(galaxies), shares))


def _note(count: int, shares: np.ndarray) -> str:
    if not np.isfinite(shares).any():
        return f"{count:,} galaxies without votes on the four classes: only copies and shared properties are measured."
    kind = "hard classes" if np.isin(shares[np.isfinite(shares)], (0, 1)).all() else "shares of the votes"
    return f"{count:,} galaxies; relevance by {kind}; nDCG@{HITS}, 95 % intervals over queries."


# --- Vectors ------------------------------------------------------------------------------------------------


def _vectors(
    classifier: "Classifier", galaxies: Galaxies, random: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, list[dict[str, np.ndarray]]]]:
    """The galaxies' vectors by name, [n, k] of unit length; and by the kind of copy those of each copy."""
    images = classifier.central(galaxies.images)
    views, total = [], np.zeros(())
    for view in views_of(images):
        features, embedding = encode(classifier, view)
        total = total + features
        views.append(_vectors_of(classifier, features, embedding, galaxies.kind))
    found = {**views[0], MEAN: _units((total - total.mean(axis=0)) / (total.std(axis=0) + 1e-6))}
    noisy = _vectors_of(classifier, *encode(classifier, renoised(images, random)), galaxies.kind)
    return found, {"turned or mirrored": views[1:], "re-noised": [noisy]}


def _vectors_of(
    classifier: "Classifier", features: np.ndarray, embedding: np.ndarray, kind: str
) -> dict[str, np.ndarray]:
    answers = classifier.vote_outputs(ops.convert_to_tensor(features), ops.convert_to_tensor(embedding), kind=kind)
    return {
        SIMILARITY: ops.convert_to_numpy(classifier.similarity(features, embedding)),
        EMBEDDING: _units(embedding),
        PROBABILITIES: _units(np.sqrt(ops.convert_to_numpy(answers["tree_probabilities"]))),
    }


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def renoised(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Stamps (as `Classifier.answer` takes them) with as much noise added as their sky has: linear brightness."""
    bright = linear(images)
    noise = border(bright)[1]
    return (bright + noise * random.standard_normal(bright.shape)).astype("float32")


# --- Searches -----------------------------------------------------------------------------------------------


def nearest(
    queries: np.ndarray, gallery: np.ndarray | None = None, excluded: np.ndarray | None = None, hits: int = HITS
) -> np.ndarray:
    """The rows of the gallery with the largest cosines, largest first: int [q, hits].

    Parameters
    ----------
    queries, gallery : unit vectors, [q, k] and [n, k]. Without a gallery, the queries search among themselves, and
        none finds itself.
    excluded : [q, e], rows of the gallery that a query must not find.
    """
    if gallery is None:
        gallery, excluded = queries, np.arange(len(queries))[:, None]
    hits = min(hits, len(gallery) - (0 if excluded is None else excluded.shape[1]))
    found = []
    for start in range(0, len(queries), CHUNK):
        cosines = queries[start : start + CHUNK] @ gallery.T
        if excluded is not None:
            np.put_along_axis(cosines, excluded[start : start + CHUNK], -np.inf, axis=1)
        best = np.argpartition(-cosines, hits - 1, axis=1)[:, :hits]
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


def ndcg(hits: np.ndarray, relevance: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain of each query's hits, [q].

    Parameters
    ----------
    hits : rows, best first, [q, h].
    relevance : of every row, [n].
    excluded : rows that a query could not find, [q, e]; the ideal leaves them out, too.

    >>> ndcg(np.array([[1, 2]]), np.array([1.0, 0.0, 1.0]), np.array([[0]])).round(3).tolist()
    [0.631]
    """
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    order = np.argsort(-relevance, kind="stable")[: hits.shape[1] + excluded.shape[1]]
    allowed = (order[None, :, None] != excluded[:, None, :]).all(axis=2)
    # The allowed rows first, each in its order.
    place = np.argsort(~allowed, axis=1, kind="stable")[:, : hits.shape[1]]
    ideal = relevance[order][place] @ discount
    return (relevance[hits] @ discount) / np.maximum(ideal, 1e-12)


def of_types(vectors: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> Iterator[tuple[str, Estimate]]:
    """nDCG by one and by several examples of each class, and the correlation of shares.

    Parameters
    ----------
    vectors : of unit length, [n, k].
    shares : of the volunteers in each of the four classes, [n, 4].
    random : of the examples and the bootstrap.
    """
    rows = np.flatnonzero(np.isfinite(shares).all(axis=1))
    if not len(rows):
        return
    vectors, shares = vectors[rows], shares[rows]
    types = shares.argmax(axis=1)
    hits = nearest(vectors)
    for number, name in enumerate(FOUR_CLASSES):
        members = np.flatnonzero(types == number)
        if len(members) <= EXAMPLES:
            continue
        relevance = shares[:, number]
        yield f"ndcg/{name}", _mean(ndcg(hits[members], relevance, members[:, None]), random)
        others = np.stack([random.choice(members[members != each], EXAMPLES - 1, replace=False) for each in members])
        examples = np.column_stack([members, others])
        queries = np.stack([combine(vectors[each]) for each in examples])
        several = nearest(queries, vectors, examples)
        yield f"ndcg-{EXAMPLES}/{name}", _mean(ndcg(several, relevance, examples), random)
        yield f"type/{name}", _correlation(relevance, relevance[hits].mean(axis=1), random)


def _in_other_survey(
    classifier: "Classifier",
    galaxies: Galaxies,
    paired: Galaxies,
    found: Mapping[str, np.ndarray],
    random: np.random.Generator,
) -> dict[str, Estimate]:
    """How often a galaxy of the other survey finds itself among the first hits."""
    _, rows, others = np.intersect1d(galaxies.ids, paired.ids, return_indices=True)
    if not len(rows):
        where = paired.about.get("path")
        raise InputError(f"'{where}' has none of these galaxies; give the same ones, with the same ids.")
    encoded = encode(classifier, paired.images[others])
    queries = _vectors_of(classifier, *encoded, paired.kind)
    return {
        f"ten/survey/{name}": _mean((nearest(each, found[name]) == rows[:, None]).any(axis=1), random)
        for name, each in queries.items()
    }


# --- What hits share beside the type ------------------------------------------------------------------------


def _properties(classifier: "Classifier", galaxies: Galaxies) -> dict[str, np.ndarray]:
    """What should not decide who is found, as far as it is known and differs: numbers [n], or text."""
    found = {"magnitude": galaxies.properties["mag_r"], "companions": companions(classifier.central(galaxies.images))}
    known = {name: values for name, values in found.items() if np.isfinite(values).mean() > 0.5}
    varied = {name: values for name, values in known.items() if np.nanstd(values) > 0}
    return {**varied, **({"survey": galaxies.surveys} if len(set(galaxies.surveys)) > 1 else {})}


def companions(images: np.ndarray) -> np.ndarray:
    """How bright the brightest companion in a stamp's outskirts is, [n]: the logarithm of the brightest pixel there
    above the median at its radius, in units of the sky's noise."""
    bright = np.nan_to_num(linear(images)).mean(axis=-1)
    half = bright.shape[1] / 2
    offset = (np.arange(bright.shape[1]) + 0.5 - half) / half
    radius = np.hypot(offset[:, None], offset[None, :])
    # The sky of an 8-bit picture may be a single value.
    least, peak = 0.003 * bright.max(axis=(1, 2)) + 1e-9, np.zeros(len(bright))
    for inner in np.arange(OUTSIDE, 1.0, 0.1):
        ring = bright[:, (radius >= inner) & (radius < inner + 0.1)]
        above = ring - np.median(ring, axis=1, keepdims=True)
        noise = 1.4826 * np.median(np.abs(above), axis=1)
        peak = np.maximum(peak, above.max(axis=1) / np.maximum(noise, least))
    return np.log(np.maximum(peak, 1.0))


def _shared(
    hits: np.ndarray, properties: Mapping[str, np.ndarray], types: np.ndarray, random: np.random.Generator
) -> Iterator[tuple[str, Estimate, Estimate]]:
    """What hits and queries share of each property, and what random hits of the same classes would."""
    rows = np.arange(len(types))
    drawn = rows.copy()
    for kind in np.unique(types):
        members = np.flatnonzero(types == kind)
        drawn[members] = random.permutation(members)
    for name, values in properties.items():
        if values.dtype.kind in "OUS":
            same = [(values[each] == values[:, None]).mean(axis=1) for each in (hits, drawn[hits])]
            yield name, _mean(same[0], random), _mean(same[1], random)
        else:
            pairs = [np.nanmean(values[each], axis=1) for each in (hits, drawn[hits])]
            yield name, _correlation(values, pairs[0], random), _correlation(values, pairs[1], random)


# --- Intervals ----------------------------------------------------------------------------------------------


def _mean(values: np.ndarray, random: np.random.Generator) -> Estimate:
    values = np.asarray(values, dtype=float)
    weights = random.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES)
    return Estimate.of(values.mean(), weights @ values / len(values), len(values))


def _correlation(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> Estimate:
    """Pearson's correlation of two numbers a galaxy, where both are known."""
    known = np.isfinite(first) & np.isfinite(second)
    pair = np.stack([first[known], second[known]]).astype(float)
    rows = random.integers(pair.shape[1], size=(RESAMPLES, pair.shape[1]))
    value, *resamples = (_pearson(*pair[:, each]) for each in (slice(None), *rows))
    return Estimate.of(value, np.array(resamples), pair.shape[1])


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / max(np.sqrt((first @ first) * (second @ second)), 1e-12))
