"""The thin client: galaxies in, answers out, over gRPC; it needs only NumPy, gRPC and Protobuf.

>>> with MorphClient("127.0.0.1:8500") as client:  # doctest: +SKIP
...     answers = client.classify(images)
...     answers["probabilities"].shape, answers.named()[0]["bar"]
((6, 42), {'strong': 0.06, 'weak': 0.11, 'no': 0.83})

It works with TensorFlow Serving and with the embedded server of `morph serve`, which answer alike. `MorphClient`
blocks until an answer is there; `AsyncMorphClient` is for an event loop. The distribution morph-client contains the
same client as the package `morph_client`.
"""

from serving.client.answers import Answers
from serving.client.async_client import AsyncMorphClient
from serving.client.connection import CHANNEL_OPTIONS
from serving.client.errors import Retries, ServerError
from serving.client.protocol import BATCH_SIZE, IN_FLIGHT, MESSAGE_BYTES
from serving.client.similar import Hits
from serving.client.similar_servers import SimilarServers
from serving.client.sync_client import MorphClient

__all__ = [
    "BATCH_SIZE",
    "CHANNEL_OPTIONS",
    "IN_FLIGHT",
    "MESSAGE_BYTES",
    "Answers",
    "AsyncMorphClient",
    "Hits",
    "MorphClient",
    "Retries",
    "ServerError",
    "SimilarServers",
]
