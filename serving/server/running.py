"""What every server needs, whatever it serves: a thread with an event loop, ports, gRPC's options and its health."""

import asyncio
import contextlib
import gc
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import grpc
from grpc_health.v1 import health

from morph.errors import InputError
from serving.server.configuration import Tls

#: Seconds that requests under way get to finish when the server stops.
GRACE = 30.0

#: The largest message taken, in MB: ten full batches of 64-pixel galaxies.
MAX_MESSAGE_MB = 64

#: Seconds of silence after which a client is pinged, and those it has to reply: a machine without power would hold its
#: connection, and the message that it was sending, for hours.
KEEPALIVE, KEEPALIVE_TIMEOUT = 60.0, 20.0

#: Seconds that a thread keeps Python's lock while another wants it. The default of 5 ms is as long as a galaxy's
#: pass through the network.
SWITCH_INTERVAL = 0.0005


class BackgroundServer(ABC):
    """A server that runs in a thread of its own until it is stopped.

    A subclass serves in `_serve`, which sets `_ready` when the server answers, and returns after `_stopping` was set.

    Parameters
    ----------
    host, port : where to listen; 0 takes a free port.
    tls : key and certificates; no TLS if not given.
    """

    def __init__(self, host: str, port: int, tls: Tls | None = None):
        self.host, self.port, self._tls = host, port, tls
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """``host:port`` for a client on this machine."""
        return local_address(self.host, self.port)

    def start(self) -> int:
        """Serve in a thread; returns the port when the server answers.

        Raises InputError when it cannot, because a port is taken for instance.
        """
        self._thread = threading.Thread(target=self._run, name="morph-server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        return self.port

    def stop(self) -> None:
        """Refuse new requests, finish those under way, and end."""
        if self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _run(self) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            with asyncio.Runner(loop_factory=_event_loop()) as runner:
                runner.run(self._begin())
        except BaseException as error:  # `start` raises it in the caller's thread
            self._failure = error
        finally:
            sys.setswitchinterval(interval)
            gc.unfreeze()
            self._ready.set()

    async def _begin(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._serve()

    @abstractmethod
    async def _serve(self) -> None:
        """Serve until `_stopping` is set."""


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop's factory: uvloop's, which takes less processor time per request, where it exists (not on
    Windows)."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def local_address(host: str, port: int) -> str:
    """``host:port`` of a server for a client on its own machine.

    >>> local_address("0.0.0.0", 8500), local_address("::", 8500)
    ('127.0.0.1:8500', '[::1]:8500')
    """
    return _address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def _address(host: str, port: int) -> str:
    """Host and port as one text; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket on an IPv4 or IPv6 address.

    Parameters
    ----------
    host, port : where to listen; 0 takes a free port.
    option : of the command line, which chooses the port.

    Raises
    ------
    InputError : the port is taken.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        raise InputError(
            f"Port {port} of {host} is not free; choose another with {option}, or 0 for a free one."
        ) from None


def grpc_options(max_message_mb: float = MAX_MESSAGE_MB) -> tuple[tuple[str, Any], ...]:
    """gRPC's options for a server that refuses larger messages than these."""
    return (
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", int(max_message_mb * 2**20)),
        # Otherwise a second server could start on the same port and take half of the requests.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", int(KEEPALIVE * 1000)),
        # The time allowed for the reply; gRPC's `keepalive_timeout_ms` alone closes nothing.
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    )


def add_port(server: grpc.aio.Server, host: str, port: int, tls: Tls | None, option: str) -> int:
    """Let a gRPC server listen.

    Parameters
    ----------
    server : that is not started yet.
    host, port : where to listen; 0 takes a free port.
    tls : key and certificates; no TLS if not given.
    option : of the command line, which chooses the port.

    Returns
    -------
    The port.

    Raises
    ------
    InputError : the port is taken; gRPC would only log that.
    """
    listen(host, port, option).close()
    address = _address(host, port)
    return server.add_secure_port(address, tls.for_grpc()) if tls else server.add_insecure_port(address)


def cut(sentence: str) -> str:
    """A status's message, cut to 1,024 bytes as in TensorFlow Serving."""
    text = sentence.encode()
    return sentence if len(text) <= 1024 else text[:1024].decode(errors="ignore") + "...TRUNCATED"


class HealthServicer(health.aio.HealthServicer):
    """The protocol's own, with an end for its watches, for which a stopping server would wait all of its grace."""

    def __init__(self):
        super().__init__()
        self._watches: set[asyncio.Task] = set()
        self._ended = False

    async def Watch(self, request, context) -> None:
        """Send a service's state, and every change of it, until the client disconnects or `end_watches` is called."""
        if self._ended:
            return
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait([watch])
        finally:
            self._watches.discard(watch)
            watch.cancel()

    def end_watches(self) -> None:
        """End every watch, now and from now on."""
        self._ended = True
        for watch in self._watches:
            watch.cancel()
