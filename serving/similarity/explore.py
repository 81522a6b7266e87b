"""`morph explore`: an index as a page for people and as a service, on one HTTP port and one of gRPC."""

import asyncio
import gc
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from morph.errors import InputError
from morph.signals import until_stopped
from serving.server.configuration import Tls
from serving.server.running import GRACE, BackgroundServer, add_port, grpc_options, listen, local_address
from serving.similarity.explore_metrics import Metrics
from serving.similarity.header import FILE
from serving.similarity.index import Index
from serving.similarity.rpc import add_service, set_serving
from serving.similarity.searches import ModelServer, Searches
from serving.similarity.tile_pictures import TilePictures
from serving.similarity.web import Web

log = logging.getLogger("morph.explore")

#: Seconds between two looks at the index, which `morph index` may have added to.
POLL = 2.0

#: Seconds for a connection's next request to arrive.
IDLE = 75.0


class ExploreServer(BackgroundServer):
    """Serves an index until it is stopped.

    >>> with ExploreServer("galaxies.index", "localhost:8500") as server:  # doctest: +SKIP
    ...     print(server.url)

    Parameters
    ----------
    index : its folder.
    model : HOST:PORT of the server of its model, by which images are searched; without one they are refused.
    port, grpc_port : of the page and REST, and of gRPC; 0 takes a free one.
    host : the address to listen on.
    tiles : files, folders or globs of tiles, from which pictures are cut.
    tls : key and certificates for both ports; no TLS if not given.
    hosts : names under which the page may be addressed, besides localhost and IP addresses.
    options : of the client of the model's server, such as `model`, `tls`, `token`.
    """

    def __init__(
        self,
        index: str | Path,
        model: str | None = None,
        port: int = 0,
        grpc_port: int = 0,
        host: str = "127.0.0.1",
        *,
        tiles: Sequence[str | Path] = (),
        tls: Tls | None = None,
        hosts: Sequence[str] = (),
        options: dict[str, Any] | None = None,
    ):
        super().__init__(host, port, tls)
        self.grpc_port = grpc_port
        self._index = Index.open(index)
        self._model = ModelServer(model, **(options or {})) if model else None
        self._pictures = TilePictures(tiles)
        self._hosts = tuple(hosts) if host in ("0.0.0.0", "::") else (*hosts, host)

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine."""
        return f"{'https' if self._tls else 'http'}://{self.address}/"

    @property
    def grpc_address(self) -> str:
        """``host:port`` of gRPC, for a client on this machine."""
        return local_address(self.host, self.grpc_port)

    async def _serve(self) -> None:
        searches = Searches(self._index, self._model)
        if self._model is not None:
            await self._model.open(self._index)
        metrics = Metrics(lambda: len(searches.index))
        site = Web(searches, self._pictures, metrics, self._hosts)
        server = grpc.aio.server(options=grpc_options())
        health = add_service(server, searches, metrics)
        listening = listen(self.host, self.port, "--port")
        runner = web.AppRunner(
            site.application,
            shutdown_timeout=GRACE,
            # A disconnected client's search is not begun.
            handler_cancellation=True,
            auto_decompress=False,
            keepalive_timeout=IDLE,
            # An address may name a thousand galaxies.
            max_line_size=1 << 16,
            access_log=None,
        )
        watching = asyncio.create_task(self._follow(searches))
        try:
            self.grpc_port = add_port(server, self.host, self.grpc_port, self._tls, "--grpc-port")
            await runner.setup()
            await web.SockSite(runner, listening, ssl_context=self._tls.for_http() if self._tls else None).start()
            self.port = listening.getsockname()[1]
            await server.start()
            await set_serving(health)
            gc.freeze()
            self._ready.set()
            await self._stopping.wait()
            searches.stopping = True
            await health.enter_graceful_shutdown()
        finally:
            watching.cancel()
            health.end_watches()
            await asyncio.gather(server.stop(GRACE), runner.cleanup())
            listening.close()
            if self._model is not None:
                await self._model.close()
            site.close()
            searches.close()

    async def _follow(self, searches: Searches) -> None:
        """Open the index again whenever it has changed, without end."""
        path, logged = self._index.folder / FILE, ""
        seen = _state(path)
        while True:
            await asyncio.sleep(POLL)
            now = _state(path)
            if now in (seen, None):
                continue
            try:
                index = await searches.run(Index.open, self._index.folder)
                if index.digest != searches.index.digest:
                    raise InputError("It is that of another model now; start `morph explore` again.")
                searches.index, seen, logged = index, now, ""
                self._pictures.clear()
                log.info("The index holds %s galaxies now", f"{len(index):,}")
            except (InputError, OSError) as error:
                if str(error) != logged:
                    logged = str(error)
                    log.error("The changed index is not used: %s", logged)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def serve(
    index: str | Path, model: str | None = None, port: int = 8080, grpc_port: int = 8081, **options: Any
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests under way and return.

    When the page answers, standard output gets one line with its address, and one with that of gRPC.

    Parameters
    ----------
    index, model, port, grpc_port, **options : as for `ExploreServer`.

    Raises
    ------
    InputError : as for `ExploreServer` and its `start`.
    """
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    with until_stopped() as stopped, ExploreServer(index, model, port, grpc_port, **options) as server:
        print(f"Exploring {index} on {server.url}", flush=True)
        print(f"gRPC on {server.grpc_address}", flush=True)
        stopped.wait()
