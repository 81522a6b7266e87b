"""The HTTP port of `morph explore`: the page for people, REST for programs, health and metrics."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from aiohttp import web
from google.protobuf.message import Message

from morph.console import listed
from morph.errors import InputError
from morph.reports.html import data_url, render
from serving.savedmodel.servable import StatusError
from serving.server.json_format import error_response, errors_as_json
from serving.similarity import rows
from serving.similarity.explore_metrics import Metrics
from serving.similarity.exports import Export
from serving.similarity.index import Index
from serving.similarity.searches import Found, Searches, check_filter
from serving.similarity.tile_pictures import TilePictures, picture_of
from serving.similarity.web_requests import from_json, from_query, vector_to_text, whole_number

#: The largest body, and all bodies together from which on more are refused, bytes; seconds for one to arrive.
MAX_BODY, MAX_BODIES, ARRIVING = 64 << 20, 256 << 20, 60.0

#: The most galaxies that a page shows.
MOST_SHOWN = 1_200

#: Where Prometheus finds the metrics, as on the model server.
METRICS = "/monitoring/prometheus/metrics"

#: Nothing but this server's own files, and pictures that the page itself has.
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FILES = {"explore.js": "text/javascript", "cards.js": "text/javascript", "marks.js": "text/javascript"}


class Web:
    """The routes; `application` is what aiohttp runs.

    Parameters
    ----------
    searches : what finds.
    pictures : of the galaxies.
    metrics : what counts.
    hosts : names under which the server may be addressed, besides localhost and IP addresses.
    """

    def __init__(self, searches: Searches, pictures: TilePictures, metrics: Metrics, hosts: tuple[str, ...] = ()):
        self._searches, self._pictures, self._metrics = searches, pictures, metrics
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._bytes = 0
        self._cutting = ThreadPoolExecutor(2, "morph-pictures")
        app = self.application = web.Application(middlewares=[_errors, self._guard], client_max_size=MAX_BODY)
        app.on_response_prepare.append(_secure)
        app.router.add_get("/", self._page)
        app.router.add_get("/{name:explore.css|explore.js|cards.js|marks.js}", self._file)
        app.router.add_get("/v1/about", self._about)
        app.router.add_get("/v1/find", self._find)
        app.router.add_get("/v1/galaxies", self._galaxies)
        app.router.add_get("/v1/picture", self._picture)
        app.router.add_get("/v1/similar", self._similar)
        app.router.add_post("/v1/similar", self._similar)
        app.router.add_post("/v1/export", self._export)
        app.router.add_get("/healthz/{probe:live|ready}", self._health)
        app.router.add_get(METRICS, self._metrics_page)

    def close(self) -> None:
        """Cut no more pictures."""
        self._cutting.shutdown(wait=False, cancel_futures=True)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        """Refuse what a page of another site makes a browser send: a name that was bound to this address (DNS
        rebinding), or another origin."""
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        except ValueError:
            host = ""
        # Those who watch over the server call it what they like, and learn nothing about galaxies.
        watched = request.path.startswith("/healthz/") or request.path == METRICS
        if host not in self._hosts and not _is_address(host) and not watched:
            raise StatusError(
                "PERMISSION_DENIED",
                f"This server is not called '{host[:80]}'; start it with --host-name {host[:80]} if it is.",
            )
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            raise StatusError("PERMISSION_DENIED", "A page of another site may not use this server.")
        return await handler(request)

    # --- The page -------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        index = self._searches.index
        text = render(
            "explore.html",
            package=__package__,
            title=index.folder.name,
            galaxies=f"{len(index):,}",
            surveys=listed([name.upper() for name in index.surveys]) if index.surveys else "",
            model=f"{index.model} {index.model_version}",
            images=self._searches.model is not None,
            answers=[
                {**question, "labels": json.dumps([answer["name"] for answer in question["answers"]])}
                for question in rows.questions(index.schema)
            ],
            magnitudes=rows.measured_columns(index.schema),
            columns=index.columns,
            example="mag_r < 20 and bar_strong > 0.3",
        )
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-cache"})

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        content, tag = _static(name)
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type=_FILES.get(name, "text/css"), charset="utf-8", headers=headers)

    async def _picture(self, request: web.Request) -> web.Response:
        name = request.query.get("id", "")
        # Not counted among the searches: a page asks for dozens at once.
        content = await asyncio.get_running_loop().run_in_executor(
            self._cutting, self._pictures.by_id, self._searches.index, name
        )
        if content is None:
            raise StatusError("NOT_FOUND", "There is no picture of this galaxy; start with --tiles to cut them.")
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(body=content, content_type="image/jpeg", headers=headers)

    # --- REST -----------------------------------------------------------------------------------------------

    async def _about(self, _: web.Request) -> web.Response:
        index = self._searches.index
        return _json(
            {
                "name": index.folder.name,
                "galaxies": len(index),
                "model": index.model,
                "model_version": index.model_version,
                "dimension": index.dimension,
                "surveys": list(index.surveys),
                "columns": index.columns,
                "images": self._searches.model is not None,
            }
        )

    async def _find(self, request: web.Request) -> web.Response:
        async with self._searches.admitted():
            return _json({"id": await self._searches.find(request.query.get("q", "")[:200])})

    async def _galaxies(self, request: web.Request) -> web.Response:
        async with self._searches.admitted():
            asked = from_query(request.query, self._searches.index.dimension)
            check_filter(asked.where)
            seed = None
            if request.query.get("show") == "sample":
                seed = whole_number(request.query.get("seed") or "0", "seed", 2**32 - 1)
            return await self._searches.run(self._begin, self._searches.index, asked, seed)

    def _begin(self, index: Index, asked: Message, seed: int | None) -> web.Response:
        """Galaxies to begin with: the most anomalous, or a sample by a seed."""
        cone = (asked.cone.ra, asked.cone.dec, asked.cone.radius) if asked.HasField("cone") else None
        if seed is None:
            table = rows.most_anomalous(index, asked.n, asked.where or None, cone)
        else:
            table = rows.sample(index, asked.n, asked.where or None, cone, seed)
        return _json({"hits": self._hits(table), "most": MOST_SHOWN})

    async def _similar(self, request: web.Request) -> web.Response:
        asked = await self._request(request)
        with self._metrics.measure("REST"):
            async with self._searches.admitted():
                return await self._searches.similar(asked, self._answer)

    def _answer(self, found: Found) -> web.Response:
        index = self._searches.index
        return _json(
            {
                "model": index.model,
                "model_version": index.model_version,
                "hits": self._hits(found.table),
                "vectors": [vector_to_text(vector) for vector in found.vectors],
                "notes": found.notes,
                "pictures": [data_url("jpeg", picture_of(stamp)) for stamp in found.stamps],
                "most": MOST_SHOWN,
            }
        )

    def _hits(self, table: pa.Table) -> list[dict[str, Any]]:
        """Rows for the page; those of their pictures are kept, which are asked for next."""
        pictured = self._pictures.add_rows(table)
        return [{**hit, "picture": each} for hit, each in zip(rows.for_people(table), pictured, strict=True)]

    async def _request(self, request: web.Request) -> Message:
        """The SimilarRequest in a request's address, and in its body: a document in protobuf's JSON, or files."""
        if request.method == "GET":
            return from_query(request.query, self._searches.index.dimension)
        kind = request.content_type
        body = await self._body(request)
        if kind == "application/json":
            return from_json(body)
        asked = from_query(request.query, self._searches.index.dimension)
        files = asked.like.add().files
        for name in ("survey", "bands", "zero_point", "unit"):
            setattr(files, name, request.query.get(name, ""))
        if isinstance(body, bytes):
            files.files.add(name=request.query.get("name", "image"), content=body)
        else:
            for name, content in body:
                files.files.add(name=name, content=content)
        return asked

    async def _body(self, request: web.Request) -> Any:
        """The body: its bytes, or the name and content of each file in a form."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise StatusError("INVALID_ARGUMENT", "Send the body as it is, without a Content-Encoding.")
        size = request.content_length or MAX_BODY
        if size > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, size)
        if self._bytes + size > MAX_BODIES:
            raise StatusError("RESOURCE_EXHAUSTED", "The server holds many large requests; try again later.")
        self._bytes += size
        try:
            async with asyncio.timeout(ARRIVING):
                if request.content_type != "multipart/form-data":
                    return await request.read()
                form = await request.post()
                files = [each for each in form.values() if isinstance(each, web.FileField)]
                return [(each.filename, each.file.read()) for each in files]
        except TimeoutError:
            raise StatusError("DEADLINE_EXCEEDED", f"The request did not arrive within {ARRIVING:g} s.") from None
        except ValueError:
            raise StatusError("INVALID_ARGUMENT", "The body is not a form with files.") from None
        finally:
            self._bytes -= size

    async def _export(self, request: web.Request) -> web.Response:
        export = Export.parse(await self._body(request))
        async with self._searches.admitted():
            content = await self._searches.run(export.write, self._searches.index)
        headers = {"Content-Disposition": f'attachment; filename="{export.file}"'}
        return web.Response(body=content, content_type=export.content_type, headers=headers)

    async def _health(self, request: web.Request) -> web.Response:
        good = request.match_info["probe"] == "live" or not self._searches.stopping
        return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(), content_type="text/plain")


@cache
def _static(name: str) -> tuple[bytes, str]:
    """A file of the page, and what identifies its content."""
    content = resources.files(__package__).joinpath("templates", name).read_bytes()
    if name == "explore.css":
        content = resources.files("morph.reports").joinpath("templates", "style.css").read_bytes() + content
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY)


def _json(content: dict[str, Any]) -> web.Response:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})


@web.middleware
async def _errors(request: web.Request, handler: Callable) -> web.StreamResponse:
    """Every error as JSON with one sentence."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return error_response(413, f"A request has at most {MAX_BODY >> 20} MB; send a smaller image.")
        except InputError as error:
            raise StatusError("INVALID_ARGUMENT", str(error)) from None

    return await errors_as_json(request, answered)
