"""Scoring on several processes with Dask, of this machine or of any cluster: one tile, one task.

The data that all tiles share, including the model's weights, lies in the output folder, which every worker must see
anyway: a worker that joins late, or replaces one that died, needs nothing from the others, and a large catalogue does
not pass through the scheduler.
"""

import importlib.util
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from morph import __version__
from morph.errors import InputError, first_line
from morph.signals import sigint_blocked
from morph.tiles.tile import tile_name
from serving.scores.summary import Failed, Result, Scored
from serving.scoring.job import Job
from serving.scoring.pipeline import Advance
from serving.scoring.worker import FILE, Unseen, job_folder, score_one, sees

#: Seconds that a scheduler may take to answer.
PATIENCE = 20.0

#: Seconds between checks for missing workers.
WATCH = 5.0

#: After how many checks in a row without a worker a warning is logged.
PATIENT = 3

#: Attempts to start the processes of this machine.
STARTS = 3

#: What must be alike on the client, the scheduler and the workers for Dask to work.
ALIKE = ("python", "distributed")

logger = logging.getLogger(__name__)


def score_on_cluster(groups: list[list[Path]], job: Job, where: int | str, advance: Advance) -> Iterator[Result]:
    """`score_tiles`, spread over workers; results come as they are finished, in any order.

    A worker that dies is replaced by its cluster, and its tile is tried again; one that goes on killing its workers
    is listed as failed.

    Parameters
    ----------
    groups : the tiles' files.
    job : of these tiles.
    where : how many processes of this machine, or the address of a Dask scheduler.
    advance : called with the number of tiles and galaxies finished since the last call.

    Raises
    ------
    InputError : there is no such scheduler, its workers cannot do the work, or it stops; and as `score_tiles`.
    """
    # Workers on other machines have other working folders. A link keeps its name, which is the tile's.
    groups = [[path.absolute() for path in group] for group in groups]
    galaxies = job.catalogue
    if galaxies is not None and isinstance(galaxies.kept, Path):
        galaxies = replace(galaxies, kept=galaxies.kept.absolute())
    job = replace(job, out=job.out.absolute(), catalogue=galaxies)
    with job_folder(job) as folder, _connected(where, len(groups)) as client:
        with _answering(where):
            if link := _dashboard(client, where):
                logger.info("Dask's dashboard is at %s", link)
            _check(client, where, [folder / FILE, *(groups[0] if groups else [])])
        killers: list[list[Path]] = []
        for group, result in _results(client, groups, folder, where):
            if result is None:
                killers.append(group)
                continue
            advance(1, result.galaxies if isinstance(result, Scored) else 0)
            yield result
        # Tiles that waited on a worker which another tile killed count as suspects too; alone, each shows its own.
        for group in killers:
            for _, result in _results(client, [group], folder, where):
                name = tile_name(group)
                result = result or Failed(name, f"Its workers died, again and again ('{group[0]}').", str(group[0]))
                advance(1, result.galaxies if isinstance(result, Scored) else 0)
                yield result


def _results(client, groups: list[list[Path]], folder: Path, where: int | str) -> Iterator[tuple[list[Path], Any]]:
    """The result of each tile, in any order; None where it was lost with its workers."""
    from distributed import KilledWorker, as_completed

    with _answering(where):
        futures = {client.submit(score_one, group, folder, pure=False): group for group in groups}
    for future in as_completed(futures):
        group = futures.pop(future)
        with _answering(where):
            error = future.exception()
            result: Any = None if error else future.result()
        if error is None:
            yield group, _usable(result)
        elif isinstance(error, KilledWorker):
            yield group, None
        else:
            first = first_line(error)
            yield group, Failed(tile_name(group), f"{type(error).__name__} in its worker: {first}.", str(group[0]))


def _usable(result: Result | Unseen | InputError) -> Result:
    """The result of a tile; InputError when not the tile is to blame."""
    if isinstance(result, InputError):
        raise result
    if isinstance(result, Unseen):
        if result.path.exists():
            raise _not_seen(result.worker, result.path)
        return Failed(result.tile, f"There is no file '{result.path}'.", str(result.path))
    return result


# --- The cluster -----------------------------------------------------------------------------------------


@contextmanager
def _answering(where: int | str) -> Iterator[None]:
    """InputError when the scheduler does not answer any more."""
    from distributed.client import ClosedClientError

    try:
        yield
    # Dask raises the first for what was asked before, one of the others for what is asked then.
    except (CancelledError, ClosedClientError, OSError, RuntimeError):
        raise InputError(
            f"The Dask scheduler{_at(where)} has stopped. Finished tiles are kept; start the scheduler again, and the "
            "same command resumes."
        ) from None


@contextmanager
def _connected(where: int | str, tiles: int) -> Iterator[Any]:
    """A client of the scheduler at an address, or of as many processes of this machine."""
    # Before the loggers are found that this import makes.
    from distributed import Client

    cluster = None
    with _quiet(), ExitStack() as stack:
        if isinstance(where, int):
            cluster = stack.enter_context(_processes(min(where, max(tiles, 1))))
            client = stack.enter_context(Client(cluster))
        else:
            _must_have_certificates(where)
            try:
                client = stack.enter_context(Client(where, timeout=PATIENCE))
            except (OSError, TimeoutError, ValueError) as error:
                reason = first_line(error)
                raise InputError(
                    f"No Dask scheduler answers at {where} ({reason[:120]}); start one with `dask scheduler`, and "
                    "write its address as tcp://HOST:8786."
                ) from None
        with _answering(where):
            client.subscribe_topic("morph", _log_message)
        stack.enter_context(_watched(client, cluster))
        yield client


def _must_have_certificates(where: str) -> None:
    """InputError where a connection is to be encrypted and Dask's settings name no certificates.

    Dask's client would find that out halfway, and leave itself as what computes everything in this process.
    """
    from distributed.security import Security

    if where.startswith("tls://") and Security().get_connection_args("client").get("ssl_context") is None:
        raise InputError(
            f"{where} is encrypted, and Dask has no certificates here; name them in its settings, such as "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE and ..._TLS__CLIENT__CERT and ..._TLS__CLIENT__KEY."
        )


def _processes(workers: int) -> AbstractContextManager:
    """Processes of this machine; InputError when they cannot be started."""
    from distributed import LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    share = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads)
    share["OPENBLAS_NUM_THREADS"] = "1"
    problem: RuntimeError | None = None
    for _ in range(STARTS):
        try:
            with sigint_blocked():
                return LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    # A tile's pixels cannot be moved to disk, so Dask's bookkeeping of memory could only kill.
                    memory_limit=0,
                    # Any port: without an address Dask takes the same for every job.
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    env=share,
                )
        except RuntimeError as error:
            problem = error
    raise InputError(f"The {workers} worker processes cannot be started ({problem}).")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask, which logs every lost connection with a traceback; the errors here say it in a sentence."""
    loggers = [
        log
        for name, log in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio") and isinstance(log, logging.Logger)
    ]
    before = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in zip(loggers, before, strict=True):
            log.setLevel(level)


def _dashboard(client, where: int | str) -> str:
    """The address of the scheduler's dashboard; empty where it has none, which it does not report by itself."""
    if "dashboard" not in client.scheduler_info()["services"]:
        return ""
    if isinstance(where, int) and not importlib.util.find_spec("bokeh"):
        return ""
    try:
        urllib.request.urlopen(client.dashboard_link, timeout=2).close()
    except urllib.error.HTTPError:
        return ""
    except OSError:
        pass  # not to be reached from here, but perhaps through a tunnel
    return str(client.dashboard_link)


def _log_message(event: Any) -> None:
    """Log a worker's message here."""
    logger.warning("%s", event[1])


@contextmanager
def _watched(client, cluster) -> Iterator[None]:
    """Warn when no worker is left: the cluster may start new ones. On this machine (`cluster`) they are restarted."""
    done = threading.Event()

    def watch() -> None:
        checks = 0
        while not done.wait(WATCH):
            if cluster is not None:
                cluster.scale(len(cluster.worker_spec))
            # At the end, and without its scheduler, a client does not answer.
            with suppress(OSError, RuntimeError):
                idle = client.status == "running" and not client.scheduler_info()["workers"]
                checks = checks + 1 if idle else 0
            if checks == PATIENT:
                logger.warning("The Dask cluster has no workers at the moment; waiting for some.")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _check(client, where: int | str, needed: list[Path]) -> None:
    """InputError when the workers have other versions, or do not see the files. Waits until there is a worker."""
    if not client.scheduler_info()["workers"]:
        logger.warning("No worker has joined the Dask scheduler%s yet; waiting for one.", _at(where))
        client.wait_for_workers(1)
    if isinstance(where, int):
        return
    versions = client.get_versions()
    mine = versions["client"]["packages"]
    parties = {"scheduler": versions["scheduler"], **versions["workers"]}
    for party, theirs in parties.items():
        for package in ALIKE:
            other = (theirs or {}).get("packages", {}).get(package, "none")
            if _release(other) != _release(mine[package]):
                who = "scheduler" if party == "scheduler" else f"worker {party}"
                raise InputError(
                    f"The Dask {who} has {package} {other} and this machine {mine[package]}; install the same on both."
                )
    for worker, found in client.run(sees, needed, on_error="return").items():
        if isinstance(found, Exception):
            first = first_line(found)
            raise InputError(
                f"The Dask worker {worker} cannot work for morph ({first}); install morph {__version__} there."
            )
        version, missing = found
        if version != __version__:
            raise InputError(
                f"The Dask worker {worker} has morph {version} and this machine {__version__}; "
                "install the same on both."
            )
        if missing is not None:
            raise _not_seen(worker, missing)


def _release(version: str) -> list[str]:
    """Python may differ in its last number, Dask's packages not at all."""
    return version.split(".")[:2] if version.count(".") > 2 else version.split(".")[:3]


def _not_seen(worker: str, path: Path) -> InputError:
    return InputError(
        f"The Dask worker {worker} does not see '{path}'; keep tiles, catalogue, model and --out in folders that all "
        "machines share under the same names."
    )


def _at(where: int | str) -> str:
    return f" at {where}" if isinstance(where, str) else ""
