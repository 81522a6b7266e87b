"""The gRPC service `Similar`."""

from functools import partial

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.protocol.messages import descriptor_of
from serving.protocol.similar import SERVICE, SimilarRequest, SimilarResponse, write_columns, write_vectors
from serving.savedmodel.servable import StatusError
from serving.server.running import HealthServicer, cut
from serving.similarity.explore_metrics import Metrics
from serving.similarity.rows import as_arrays
from serving.similarity.searches import ANSWERING, Found, Searches


class SimilarService:
    """Answers calls of `Similar`.

    Parameters
    ----------
    searches : what finds.
    metrics : what counts.
    """

    def __init__(self, searches: Searches, metrics: Metrics):
        self._searches, self._metrics = searches, metrics

    async def search(self, content: bytes, context) -> bytes:
        """Search: the bytes of a request, and those of its response. gRPC cancels it with its client."""
        left = context.time_remaining()
        try:
            with self._metrics.measure("GRPC"):
                async with self._searches.admitted(ANSWERING if left is None else min(left, ANSWERING)):
                    request = _parse(content)
                    return await self._searches.similar(request, partial(self._response, request))
        except StatusError as refusal:
            await context.abort(grpc.StatusCode[refusal.status], cut(refusal.sentence))
        raise AssertionError("abort raises")

    def _response(self, request, found: Found) -> bytes:
        index = self._searches.index
        response = SimilarResponse(model=index.model, model_version=index.model_version, notes=found.notes)
        write_columns(as_arrays(found.table, request.columns), response)
        write_vectors(found.vectors, response)
        return response.SerializeToString()


def _parse(content: bytes):
    try:
        return SimilarRequest.FromString(content)
    except DecodeError:
        raise StatusError("INVALID_ARGUMENT", f"The request is not a {SimilarRequest.DESCRIPTOR.full_name}.") from None


def add_service(server: grpc.aio.Server, searches: Searches, metrics: Metrics) -> HealthServicer:
    """Add `Similar`, health and reflection to a server.

    Parameters
    ----------
    server : the gRPC server.
    searches : what finds.
    metrics : what counts.

    Returns
    -------
    The health, to be set (`set_serving`).
    """
    handlers = {"Search": grpc.unary_unary_rpc_method_handler(SimilarService(searches, metrics).search)}
    server.add_registered_method_handlers(SERVICE, handlers)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((SERVICE,), server, descriptor_of("morph.SimilarRequest").file.pool)
    return servicer


async def set_serving(servicer: HealthServicer) -> None:
    """Report the server as alive and the service as ready."""
    for name in ("", SERVICE):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
