"""Scoring on several processes of this machine, with Dask: one tile, one task."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from morph.errors import BadInput
from morph.images.tiles import tile_name
from serving.answerers import Answerer, Source
from serving.scoring import Advance, Job, score_tiles
from serving.summary import Failed, Result, Scored


def score_on_cluster(groups: list[list[Path]], job: Job, workers: int, advance: Advance) -> Iterator[Result]:
    """`score_tiles`, spread over `workers` processes; results come as they are finished, in any order."""
    from distributed import Client, LocalCluster, as_completed

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    share = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads)
    share["OPENBLAS_NUM_THREADS"] = "1"
    with (
        LocalCluster(
            n_workers=min(workers, len(groups)),
            threads_per_worker=1,
            # A tile's pixels cannot be moved to disk, so Dask's bookkeeping of memory could only kill.
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            env=share,
        ) as cluster,
        Client(cluster) as client,
    ):
        shared = client.scatter(job, broadcast=True)
        futures = {client.submit(_score_one, group, shared, pure=False): group for group in groups}
        for future in as_completed(futures):
            error = future.exception()
            if error is not None:
                result: Result | BadInput = Failed(tile_name(futures[future]), f"Its worker stopped ({error}).")
            else:
                result = future.result()
            if isinstance(result, BadInput):
                raise result
            advance(1, result.galaxies if isinstance(result, Scored) else 0)
            yield result


def _score_one(group: list[Path], job: Job) -> Result | BadInput:
    """One tile in a worker; a BadInput when not the tile but the answerer fails."""
    try:
        (result,) = score_tiles([group], job, _answerer(job.source), lambda tiles, galaxies: None)
    except BadInput as error:
        return BadInput(str(error))
    return result


#: A worker's answerers are opened once and kept as long as the process lives.
_OPEN = ExitStack()
_ANSWERERS: dict[Source, Answerer] = {}


def _answerer(source: Source) -> Answerer:
    if source not in _ANSWERERS:
        _ANSWERERS[source] = _OPEN.enter_context(source.open())
    return _ANSWERERS[source]
