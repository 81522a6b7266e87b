"""An exchange of messages with a server, apart from how they are sent.

It is a generator: it yields each message to send, receives the bytes of the answer, or gRPC's error thrown into it,
and returns the result.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc


@dataclass(frozen=True)
class Send:
    """Send `request` to the `method` after `pause` seconds, and wait no longer than `timeout` for the answer."""

    method: str
    request: bytes = field(repr=False)
    timeout: float
    pause: float = 0.0


T = TypeVar("T")
Exchange = Generator[Send, bytes, T]


class Running(Generic[T]):
    """An exchange under way.

    Attributes
    ----------
    message : to be sent next; None at the end, when there is the `result`.
    """

    result: T

    def __init__(self, exchange: Exchange[T]):
        self._exchange = exchange
        self.message: Send | None = None
        self._go_on(exchange.send, None)

    def answered(self, answer: bytes) -> None:
        """The answer to `message` has come."""
        self._go_on(self._exchange.send, answer)

    def failed(self, error: grpc.RpcError) -> None:
        """No answer to `message` comes."""
        self._go_on(self._exchange.throw, error)

    def _go_on(self, resume: Callable[[Any], Send], answer: Any) -> None:
        try:
            self.message = resume(answer)
        except StopIteration as end:
            self.message, self.result = None, end.value
