"""An index of invented galaxies, a server of `morph explore` on it, and what a browser would ask."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from serving.similarity import Index
from serving.similarity.build import build
from serving.similarity.explore import ExploreServer
from serving.similarity.sources import find_sources
from tests.serving.scores.invented import write_tile


def make_index(folder: Path, tiles: int = 3) -> Path:
    """An index of invented galaxies along the equator, DES0000-0000-0 and so on, about 34 a tile with answers."""
    scores = folder / "scores"
    for k in range(tiles):
        # The answers of a tile depend on its number of galaxies.
        count, random = (34, 38, 40)[k], np.random.default_rng(k)
        ra = (0.05 * (k - 1.5) + random.uniform(0, 0.05, count)) % 360
        write_tile(scores, f"DES000{k}-0000", ra, random.uniform(-0.02, 0.02, count))
    build(find_sources([scores]), folder / "galaxies.index")
    return folder / "galaxies.index"


class Asking:
    """A running server, asked over HTTP. `index` is what it serves, opened by itself."""

    def __init__(self, folder: Path, *arguments: Any, **options: Any):
        self.index = Index.open(folder)
        self.server = ExploreServer(folder, *arguments, **options)

    def __enter__(self) -> "Asking":
        self.server.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.stop()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer; in `query` a list is a parameter that is repeated."""
        address = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        whole = f"{path}?{urlencode(query, doseq=True)}" if query else path
        try:
            connection.request(method, whole, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.headers)
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        """The document that an address answers with, which must be well."""
        status, body, _ = self.ask("GET", path, **query)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str, document: Any, **query: Any) -> Any:
        """The same for a document that is sent."""
        status, body, _ = self.ask("POST", path, json.dumps(document), {"Content-Type": "application/json"}, **query)
        assert status == 200, body
        return json.loads(body)

    def refused(self, *arguments: Any, **options: Any) -> tuple[int, str]:
        """Status and sentence of an answer that must be an error."""
        status, body, _ = self.ask(*arguments, **options)
        document = json.loads(body)
        assert list(document) == ["error"], document
        return status, document["error"]
