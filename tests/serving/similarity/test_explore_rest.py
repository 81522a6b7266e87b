"""The REST interface and the page's files: the index's own hits, and 4xx with one sentence for whatever is wrong."""

import csv
import io
import json
import re
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.decision_tree import VOTE_COLUMNS
from serving.similarity import explore
from tests.serving.scores.invented import write_tile
from tests.serving.similarity.exploring import Asking, make_index

ID = "DES0001-0000-3"


def ids(answer: dict) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_the_hits_are_those_of_the_index(explored):
    found = explored.get("/v1/similar", like=ID, n=20)
    expected = explored.index.search(explored.index.vector_of(ID), 20, exclude=[ID])
    assert ids(found) == expected["id"].to_pylist()
    assert ID not in ids(found)
    scores = [hit["similarity"] for hit in found["hits"]]
    np.testing.assert_allclose(scores, expected["similarity"].to_numpy(), atol=1e-5)
    assert (found["model"], found["model_version"]) == ("morph", "7")


def test_a_row_has_its_answers_in_words_and_numbers(explored):
    (hit,) = explored.get("/v1/similar", like=ID, n=1)["hits"]
    row = explored.index.row_of(hit["id"])
    assert hit["answers"]["bar"]["weak"] == pytest.approx(row["bar_weak"], abs=1e-4)
    assert hit["measured"]["mag_r"] == pytest.approx(row["mag_r"], rel=1e-4)
    assert (hit["ra"], hit["dec"], hit["tile"]) == (row["ra"], row["dec"], row["tile"])
    assert hit["summary"]
    assert 0 <= hit["asked"]["bar"] <= 1


def test_conditions_are_joined_and_a_cone_is_kept(explored):
    given = {"where": ["mag_r < 21.87", "bar_strong > 0.2 or bar_weak > 0.2"], "cone": "0.01,0,0.03", "n": 100}
    found = explored.get("/v1/similar", like=ID, **given)["hits"]
    assert found
    for hit in found:
        assert hit["measured"]["mag_r"] < 21.87
        assert max(hit["answers"]["bar"][answer] for answer in ("strong", "weak")) > 0.2
        assert np.hypot((hit["ra"] - 0.01 + 180) % 360 - 180, hit["dec"]) < 0.03


def test_an_address_holds_the_vector_of_an_image(explored):
    vector = explored.index.vector_of(ID)
    first = explored.post("/v1/similar", {"like": [{"vector": {"values": vector.tolist()}}], "n": 10})
    again = explored.get("/v1/similar", vector=first["vectors"], n=10)
    assert ids(again) == ids(first)
    assert ids(first)[0] == ID, "a vector is not a galaxy of the index, which is its own best hit"


def test_examples_have_weights_and_some_are_unlike(explored):
    a, b, c = ID, "DES0000-0000-1", "DES0002-0000-2"
    found = explored.post("/v1/similar", {"like": [{"id": a, "weight": 3}, {"id": b}], "unlike": [{"id": c}], "n": 9})
    vectors = np.stack([explored.index.vector_of(name) for name in (a, b)])
    unlike = explored.index.vector_of(c)[None]
    expected = explored.index.search(vectors, 9, [3, 1], unlike, exclude=[a, b, c])
    assert ids(found) == expected["id"].to_pylist()
    assert not {a, b, c} & set(ids(found))


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        (
            {"like": "DES0001-0000-999"},
            404,
            r"no galaxy 'DES0001-0000-999' in the index; the nearest ids are DES0001-",
        ),
        ({}, 400, "needs at least one example"),
        ({"like": ID, "n": 1_000_000}, 400, "n is a whole number from 1 to 10,000"),
        ({"like": ID, "n": 0}, 400, "n is a whole number"),
        ({"like": ID, "n": "many"}, 400, "n is a whole number .* 'many'"),
        ({"like": ID, "where": "__import__('os').system('true')"}, 400, "cannot use"),
        ({"like": ID, "where": "().__class__.__bases__[0]"}, 400, "cannot use"),
        ({"like": ID, "where": "mag_r <"}, 400, "cannot be understood"),
        ({"like": ID, "where": "bar_srong > 0.5"}, 400, "no column 'bar_srong' in the index .* 'bar_strong'"),
        ({"like": ID, "where": "mag_r < 0"}, 400, "None of the 102 galaxies of the index passes"),
        ({"like": ID, "where": "9**9**9**9 < mag_r"}, 400, "passes the condition"),
        ({"like": ID, "where": "(" * 900 + "mag_r" + ")" * 900 + " < 20"}, 400, "understood|deeply"),
        ({"like": ID, "where": "mag_r < 20 or " * 400 + "mag_r < 20"}, 400, "at most 4,000 characters"),
        ({"like": ID, "cone": "1,2"}, 400, "A cone is RA,DEC,RADIUS"),
        ({"like": ID, "cone": "nan,0,1"}, 400, "A cone is RA,DEC,RADIUS"),
        ({"like": ID, "cone": "0,95,1"}, 400, "There is no position"),
        ({"like": ID, "cone": "200,40,0.1"}, 400, "None of the 102 galaxies"),
        ({"vector": "AAAA"}, 400, "a vector that is not whole"),
        ({"vector": "\u2028../../etc/passwd"}, 400, "a vector that is not whole"),
        ({"like": [ID] * 1001}, 400, "at most 1,000 examples"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(explored, query, status, sentence):
    found, said = explored.refused("GET", "/v1/similar", **query)
    assert found == status, said
    assert re.search(sentence, said), said
    assert str(explored.index.folder) not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[" * 100_000, "not a SimilarRequest"),
        (b"", "not a SimilarRequest"),
        (b'"like"', "not a SimilarRequest"),
        (b'{"like": [{"id": "a"}], "eval": "1"}', 'no field named "eval"'),
        (b'{"like": [{"file": "/etc/passwd"}]}', "no field named"),
        (b'{"like": [{}]}', "An example is empty"),
        (b'{"like": [{"vector": {"values": [1, 2]}}]}', "A vector has 2 numbers; those of the index have 50"),
        (b'{"like": [{"vector": {"values": ["NaN"]}}]}', "A vector has 1 numbers"),
        (b'{"like": [{"files": {"files": [{"name": "a.png", "content": "AAAA"}]}}]}', "Images need a model server"),
        (json.dumps({"like": [{"id": ID}], "n": 10**6}).encode(), "Between 1 and 10,000 galaxies"),
    ],
)
def test_a_wrong_document_is_one_sentence(explored, body, sentence):
    status, said = explored.refused("POST", "/v1/similar", body, {"Content-Type": "application/json"})
    assert status == 400
    assert sentence in said


def test_an_image_that_is_too_large_is_refused_before_it_arrives(explored):
    headers = {"Content-Type": "image/png", "Content-Length": str(1 << 40)}
    assert explored.refused("POST", "/v1/similar", b"", headers) == (
        413,
        "A request has at most 64 MB; send a smaller image.",
    )


def test_a_compressed_body_is_refused(explored):
    status, said = explored.refused("POST", "/v1/similar", b"x", {"Content-Encoding": "gzip"})
    assert (status, "Content-Encoding" in said) == (400, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8080"}, 403),
        ({"Host": "localhost"}, 200),
        ({"Host": "192.168.1.2:80"}, 200),
        ({"Host": "survey.example"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
    ],
)
def test_pages_of_other_sites_get_nothing(invented_index, headers, status):
    with Asking(invented_index, hosts=["survey.example"]) as explored:
        assert explored.ask("GET", "/v1/about", headers=headers)[0] == status
        host = {"Host": headers["Host"]}
        assert explored.ask("GET", "/healthz/ready", headers=host)[0] == 200, "probes may use any name"


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(explored):
    status, page, headers = explored.ask("GET", "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = page.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|<style|\sstyle=|https?://", text)
    for name in re.findall(r'(?:src|href)="([\w.]+\.(?:js|css))"', text):
        status, content, _ = explored.ask("GET", f"/{name}")
        assert status == 200
        assert not re.search(rb"https?://|eval\(|innerHTML", content)


@pytest.mark.parametrize(
    "path", ["/index.json", "/../index.json", "/templates/explore.html", "/explore.html", "/%2e%2e/setup.py", "/v1/x"]
)
def test_no_other_file_is_read(explored, path):
    assert explored.refused("GET", path)[0] == 404


def test_a_picture_comes_by_the_galaxys_id(explored):
    (first,) = explored.get("/v1/galaxies", n=1)["hits"]
    assert first["picture"]
    status, content, headers = explored.ask("GET", "/v1/picture", id=first["id"])
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(content)).size == (16, 16)
    assert explored.refused("GET", "/v1/picture", id="../../etc/passwd")[0] == 404
    assert explored.refused("GET", "/v1/picture", id=ID) == (
        404,
        "There is no picture of this galaxy; start with --tiles to cut them.",
    )


@pytest.mark.parametrize(
    "text",
    [ID, f" {ID} ", "{ra} {dec}", "{ra}, {dec}", "{sexagesimal}"],
    ids=["id", "spaces", "degrees", "comma", "hms"],
)
def test_a_galaxy_is_found_by_what_people_type(explored, text):
    from astropy.coordinates import SkyCoord

    row = explored.index.row_of(ID)
    words = SkyCoord(row["ra"], row["dec"], unit="deg").to_string("hmsdms", precision=3)
    assert explored.get("/v1/find", q=text.format(**row, sexagesimal=words))["id"] == ID


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("DES0001-0000-x", "nearest ids are"), ("10 20", "within a degree"), ("0.2 0.0", "the nearest.* arcsec away")],
)
def test_a_galaxy_that_is_not_there_is_one_sentence(explored, text, sentence):
    status, said = explored.refused("GET", "/v1/find", q=text)
    assert status == 404
    assert re.search(sentence, said), said


def test_the_most_anomalous_come_first_and_a_sample_can_be_repeated(explored):
    scores = [hit["anomaly_score"] for hit in explored.get("/v1/galaxies", show="anomalous", n=30)["hits"]]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(0.001)
    one, again, other = (ids(explored.get("/v1/galaxies", show="sample", seed=s, n=30)) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert len(set(one)) == 30
    assert len(explored.get("/v1/galaxies", show="sample", n=1000)["hits"]) == 102
    few = explored.get("/v1/galaxies", show="sample", n=30, where="mag_r > 21.87")["hits"]
    assert all(hit["measured"]["mag_r"] > 21.87 for hit in few)


def marked(kind: str, **labels: dict[str, str]) -> dict:
    return {"format": kind, "galaxies": [{"id": name, "labels": given} for name, given in labels.items()]}


def test_marked_galaxies_are_exported_as_tables(explored):
    galaxies = [{"id": "DES0002-0000-5"}, {"id": ID}]
    headers = {"Content-Type": "application/json"}
    content = {}
    for kind in ("csv", "parquet"):
        body = json.dumps({"format": kind, "galaxies": galaxies})
        status, content[kind], given = explored.ask("POST", "/v1/export", body, headers)
        assert status == 200
        assert given["Content-Disposition"] == f'attachment; filename="marked.{kind}"'
    rows = list(csv.DictReader(io.StringIO(content["csv"].decode())))
    table = pq.read_table(io.BytesIO(content["parquet"]))
    assert [row["id"] for row in rows] == table["id"].to_pylist() == ["DES0002-0000-5", ID]
    assert float(rows[1]["ra"]) == explored.index.row_of(ID)["ra"]
    assert "picture" not in table.column_names


def test_labels_become_a_training_set(explored, tmp_path, morph):
    other = "DES0000-0000-1"
    labels = {ID: {"odd-feature": "ring", "bar": "strong"}, other: {"odd-feature": "none"}, "DES0002-0000-5": {}}
    status, content, _ = explored.ask(
        "POST", "/v1/export", json.dumps(marked("labels", **labels)), {"Content-Type": "application/json"}
    )
    assert status == 200
    (tmp_path / "labels.csv").write_bytes(content)
    random = np.random.default_rng(0)
    for name in labels:
        y, x = np.mgrid[:80, :80] - 40
        light = 200 * np.exp(-np.hypot(x, y) / 8)[..., None] + random.integers(10, 20, (80, 80, 3))
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(light.clip(0, 255).astype("uint8")).save(tmp_path / "images" / f"{name}.png")
    tables = ("--labels", tmp_path / "labels.csv", "--survey", "des")
    status, _, error = morph("import", tmp_path / "images", *tables, "--to", tmp_path / "rings")
    assert status == 0, error
    galaxies = Galaxies.open(tmp_path / "rings")
    rows = (dict(zip(VOTE_COLUMNS, row, strict=True)) for row in galaxies.votes)
    votes = dict(zip(map(str, galaxies.ids), rows, strict=True))
    assert set(votes) == {ID, other}
    assert (votes[ID]["odd-feature_ring"], votes[ID]["odd-feature_none"], votes[ID]["bar_strong"]) == (1, 0, 1)
    assert votes[other]["odd-feature_none"] == 1
    assert np.isnan(votes[other]["bar_strong"])


@pytest.mark.parametrize(
    ("document", "status", "sentence"),
    [
        ([], 400, "The body is not"),
        (marked("xlsx", a={}), 400, "no format 'xlsx'"),
        (marked("csv"), 400, "Between 1 and 10,000"),
        (marked("csv", nowhere={}), 404, "no galaxy 'nowhere'"),
        (marked("labels", **{ID: {}}), 400, "None of the marked galaxies has a label"),
        (marked("labels", **{ID: {"bar": "maybe"}}), 400, "'maybe' is not an answer to 'bar'"),
        (marked("labels", **{ID: {"colour": "red"}}), 400, "no question 'colour'"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(explored, document, status, sentence):
    body, headers = json.dumps(document), {"Content-Type": "application/json"}
    found, said = explored.refused("POST", "/v1/export", body, headers)
    assert (found, sentence in said) == (status, True), said


def test_searches_are_counted_for_prometheus(explored):
    explored.get("/v1/similar", like=ID)
    explored.refused("GET", "/v1/similar", like="nowhere")
    page = explored.ask("GET", "/monitoring/prometheus/metrics")[1].decode()
    for line in (
        'morph_similar_requests_total{entrypoint="REST",status="OK"}',
        'morph_similar_requests_total{entrypoint="REST",status="NOT_FOUND"}',
        'morph_similar_seconds_count{entrypoint="REST"}',
        "morph_index_galaxies 102.0",
    ):
        assert line in page, line
    assert explored.ask("GET", "/healthz/live")[:2] == (200, b"ok\n")
    assert explored.ask("GET", "/healthz/ready")[:2] == (200, b"ok\n")


def test_galaxies_that_are_added_to_the_index_appear(tmp_path, monkeypatch):
    from serving.similarity.build import build
    from serving.similarity.sources import find_sources

    monkeypatch.setattr(explore, "POLL", 0.05)
    folder = make_index(tmp_path, tiles=1)
    with Asking(folder) as explored:
        before = explored.get("/v1/about")["galaxies"]
        write_tile(tmp_path / "scores", "DES0009-0000", np.full(20, 5.0), np.linspace(0, 1, 20))
        build(find_sources([tmp_path / "scores"]), folder)
        end = time.monotonic() + 30
        while explored.get("/v1/about")["galaxies"] == before and time.monotonic() < end:
            time.sleep(0.05)
        assert explored.get("/v1/about")["galaxies"] == before + 18
        assert explored.get("/v1/find", q="DES0009-0000-4")["id"] == "DES0009-0000-4"


def test_an_overloaded_server_refuses_searches(explored, monkeypatch):
    from serving.similarity import searches

    (first,) = explored.get("/v1/galaxies", n=1)["hits"]
    monkeypatch.setattr(searches, "WAITING", 0)
    assert explored.refused("GET", "/v1/similar", like=ID)[0] == 429
    assert explored.ask("GET", "/v1/picture", id=first["id"])[0] == 200, "pictures have threads of their own"
