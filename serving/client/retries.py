"""When a message is sent again."""

import random
from dataclasses import dataclass

import grpc

from serving.client.errors import is_busy


@dataclass(frozen=True)
class Retries:
    """How often, and how long after.

    Only UNAVAILABLE and RESOURCE_EXHAUSTED are worth a second attempt: the server is not there, or has too much to
    do. Before attempt k the client waits a random time up to ``first * 2**k`` seconds, at most `longest` (exponential
    backoff with full jitter: clients that were refused together do not come back together). No attempt goes beyond
    the message's deadline.

    gRPC's own retry policy serves less well: five attempts at most, and none for messages over its buffer's size.

    Attributes
    ----------
    absent : attempts to follow when nobody answers.
    busy : attempts to follow when the server is there and its queue is full; None for as many as the deadline allows.
    first, longest : seconds.
    """

    absent: int = 3
    busy: int | None = None
    first: float = 0.1
    longest: float = 2.0

    @classmethod
    def of(cls, number: "int | Retries") -> "Retries":
        """`number` attempts to follow, whatever the reason; or those that a `Retries` says."""
        return number if isinstance(number, Retries) else cls(absent=number, busy=number)

    def pause(self, error: grpc.RpcError, done: int) -> float | None:
        """Seconds to wait after `done` attempts to follow; None when there is to be no other."""
        if is_busy(error):
            most = self.busy
        elif error.code() is grpc.StatusCode.UNAVAILABLE:
            most = self.absent
        else:
            return None
        if most is not None and done >= most:
            return None
        return random.uniform(0, min(self.longest, self.first * 2 ** min(done, 30)))
