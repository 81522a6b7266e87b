"""The thin client: galaxies in, answers out, over gRPC; numpy, grpcio and protobuf are all it needs.

>>> with MorphClient("127.0.0.1:8500") as client:  # doctest: +SKIP
...     answers = client.classify(images)
...     answers["probabilities"].shape, answers.named()[0]["bar"]
((6, 42), {'strong': 0.06, 'weak': 0.11, 'no': 0.83})

It speaks to TensorFlow Serving and to the server that `morph serve` embeds, and cannot tell them apart. `MorphClient`
waits for its answers, `AsyncMorphClient` awaits them.
"""

from serving.client.answers import Answers
from serving.client.async_client import AsyncMorphClient
from serving.client.base import IN_FLIGHT
from serving.client.connection import CHANNEL_OPTIONS
from serving.client.errors import ServerError
from serving.client.protocol import BATCH_SIZE, MESSAGE_BYTES
from serving.client.retries import Retries
from serving.client.sync_client import MorphClient

__all__ = [
    "BATCH_SIZE",
    "CHANNEL_OPTIONS",
    "IN_FLIGHT",
    "MESSAGE_BYTES",
    "Answers",
    "AsyncMorphClient",
    "MorphClient",
    "Retries",
    "ServerError",
]
