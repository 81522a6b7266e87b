"""Several servers of `morph explore`, each with the galaxies of its own part of the sky, asked as one."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from morph.errors import InputError
from serving.client.errors import ServerError
from serving.client.similar import Hits, several
from serving.client.sync_client import MorphClient
from serving.protocol.similar import MOST_FOUND

#: Within so many arcsec of an example a galaxy is the example itself, as another tile shows it.
SAME_PLACE = 1.0
#: Hits that are asked for beyond those wanted, for every example: it may be on several tiles.
_SPARE = 4
#: What a server answers that has not this galaxy, or no model for images: another may have it.
_ELSEWHERE = ("NOT_FOUND", "FAILED_PRECONDITION")


class SimilarServers:
    """The galaxies most like some examples on all servers together.

    A similarity is the cosine of whole vectors, whatever index a galaxy is in, so that the best of all are among the
    best of each. One server finds the vector of an example; then all are asked by the vectors. Galaxies that are named
    as examples, by ids or positions, are no hits, nor are others within `SAME_PLACE` arcsec of them; the galaxy of an
    image may be one.

    >>> with SimilarServers(["north:8081", "south:8081"]) as servers:  # doctest: +SKIP
    ...     servers.similar("galaxy.png", where="mag_r < 20", n=20)["id"]

    Parameters
    ----------
    addresses : HOST:PORT of each server's gRPC.
    options : of each `MorphClient`.
    """

    def __init__(self, addresses: Sequence[str], **options: Any):
        if not addresses:
            raise InputError("No server is named; give the addresses of several, HOST:PORT.")
        self.addresses = tuple(addresses)
        self._clients = [MorphClient(address, **options) for address in addresses]
        self._threads = ThreadPoolExecutor(len(addresses), "morph-servers")

    def __enter__(self) -> "SimilarServers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()

    def similar(
        self,
        image: Any = None,
        *,
        like: str | Iterable[str] = (),
        unlike: "str | Iterable[str] | np.ndarray" = (),
        position: Sequence | None = None,
        vectors: Any = None,
        n: int = 100,
        columns: Iterable[str] = (),
        **options: Any,
    ) -> Hits:
        """As `MorphClient.similar`, of all servers; a galaxy that several have is found once.

        Parameters
        ----------
        image, like, unlike, position, vectors, n, columns : as there; of ids and positions, each may be on any server.
        options : the other parameters there.

        Returns
        -------
        `Hits`, with the columns that all servers have; its `notes` name a server that has no hits, and say why.

        Raises
        ------
        InputError : as there; also when the servers' indexes are by different models.
        ServerError : as there; also when one of the servers does not answer.
        """
        given = [] if image is None else image if isinstance(image, list) else [image]
        places = np.atleast_2d(np.array([] if position is None else position, dtype=float)).reshape(-1, 2)
        names = several(like)
        notes: list[str] = []
        far = unlike if isinstance(unlike, np.ndarray) else several(unlike)
        examples = [{"image": each} for each in given]
        examples += [{"like": name} for name in names] + [{"position": place} for place in places]
        found = [self._first(example) for example in examples]
        apart = [self._first({"like": name}) for name in far] if isinstance(far, list) else []
        own_rows = [self._nearest(hits) for hits in (*found[len(given) :], *apart)]
        for hits in found:
            notes += hits.notes
        own = [] if vectors is None else [np.atleast_2d(np.asarray(vectors, "float32"))]
        request = {
            **options,
            "vectors": np.concatenate([*(hits.vectors[:1] for hits in found), *own]) if found or own else None,
            "unlike": far if isinstance(far, np.ndarray) else _stacked(apart),
            "n": min(n + _SPARE * len(own_rows), max(n, MOST_FOUND)),
            "columns": [*dict.fromkeys(["id", "ra", "dec", "similarity", *columns])] if columns else (),
        }
        answers = list(self._threads.map(lambda client: _asked(client, request), self._clients))
        hits = _joined(self.addresses, answers, own_rows, n, notes)
        for name in {"ra", "dec"} - set(columns) if columns else ():
            del hits[name]
        return hits

    def _first(self, example: dict[str, Any]) -> Hits:
        """The answer of the first server that knows an example."""
        for client in self._clients:
            try:
                return client.similar(**example, n=1, columns=["id"])
            except ServerError as error:
                if error.status not in _ELSEWHERE:
                    raise
                last = error
        raise last

    def _nearest(self, found: Hits) -> Hits:
        """The galaxy of which a server found the vector: of all servers', the one nearest to it, id and place."""
        request = {"vectors": found.vectors[:1], "n": 1, "columns": ["id", "ra", "dec", "similarity"]}
        nearest = self._threads.map(lambda client: client.similar(**request), self._clients)
        return max(nearest, key=lambda hits: hits["similarity"][0])


def _stacked(found: Sequence[Hits]) -> np.ndarray | tuple[()]:
    """The vectors of examples, each the first of its hits."""
    return np.concatenate([hits.vectors[:1] for hits in found]) if found else ()


def _asked(client: MorphClient, request: dict[str, Any]) -> Hits | ServerError:
    """The hits of one server, or why it has none."""
    try:
        return client.similar(**request)
    except ServerError as error:
        # On this part of the sky may be no galaxy that meets the conditions.
        if error.status == "INVALID_ARGUMENT":
            return error
        raise


def _joined(
    addresses: Sequence[str],
    answers: Sequence[Hits | ServerError],
    examples: Sequence[Hits],
    n: int,
    notes: list[str],
) -> Hits:
    """The best hits of all servers.

    Parameters
    ----------
    addresses : of the servers.
    answers : of each, or its error.
    examples : galaxies that are no hits, nor are others at their places: one row each.
    n : the most hits.
    notes : on the examples, to which those on servers without hits are added.
    """
    hits = [answer for answer in answers if isinstance(answer, Hits)]
    errors = [answer for answer in answers if isinstance(answer, ServerError)]
    if not hits:
        raise errors[0]
    models = {f"{each.model} {each.model_version}" for each in hits}
    if len(models) > 1:
        raise InputError(
            f"The servers' indexes are by different models, {' and '.join(sorted(models))}, whose vectors cannot be "
            "compared; make all indexes of scores by one model."
        )
    notes += [
        f"{address} has no hits: {answer}"
        for address, answer in zip(addresses, answers, strict=True)
        if isinstance(answer, ServerError)
    ]
    shared = [name for name in hits[0] if all(name in each for each in hits)]
    columns = {name: np.concatenate([each[name] for each in hits]) for name in shared}
    order = np.argsort(-columns["similarity"], kind="stable")
    seen, best = {str(example["id"][0]) for example in examples}, []
    apart = ~_same_place(columns, examples)
    for row in order[apart[order]].tolist():
        if (name := str(columns["id"][row])) not in seen:
            seen.add(name)
            best.append(row)
    first = hits[0]
    return Hits(
        {name: values[best[:n]] for name, values in columns.items()},
        first.model,
        first.model_version,
        first.vectors,
        notes,
    )


def _same_place(columns: dict[str, np.ndarray], examples: Sequence[Hits]) -> np.ndarray:
    """Which hits lie within `SAME_PLACE` of an example: bool [n]. Unknown places are apart from all."""
    places = _directions(columns["ra"], columns["dec"])
    found = np.zeros(len(places), bool)
    for example in examples:
        chord = np.linalg.norm(places - _directions(example["ra"], example["dec"]), axis=1)
        found |= chord < np.radians(SAME_PLACE / 3600)
    return found


def _directions(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Unit vectors, [n, 3], of positions in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
