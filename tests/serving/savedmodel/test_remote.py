"""Exported models in an object store: fsspec's store in memory stands for S3 and Google's."""

from itertools import count

import fsspec
import pytest
from fsspec.registry import known_implementations

from morph.errors import InputError
from serving.savedmodel.export import export_model
from serving.savedmodel.remote import Remote, is_url, local


@pytest.fixture
def bucket():
    """An empty store in memory, and its URL."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store, "memory://bucket/models"
    store.store.clear()


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_model_exported_to_a_store_comes_back_as_it_is_on_disk(bucket, classifier, model_dir):
    _, url = bucket
    assert export_model(classifier, url, run="run-of-the-tests") == f"{url}/morph/1"
    with Remote(url).downloaded() as folder:
        assert {name.replace("/1/", "/3/") for name in files(folder)} == files(model_dir)


def upload(url: str, model_dir) -> str:
    """Bring the model of the tests, without exporting it anew."""
    return Remote(url).upload(model_dir, "morph", 3)


def test_the_main_file_arrives_last_and_nothing_else_stays(bucket, model_dir, monkeypatch):
    store, url = bucket
    arrived: list[str] = []
    copy = type(store).cp_file
    monkeypatch.setattr(type(store), "cp_file", lambda self, a, b, **_: (arrived.append(b), copy(self, a, b)))
    upload(url, model_dir)
    assert arrived[-1].endswith("/morph/3/saved_model.pb")
    assert len(arrived) == len(files(model_dir / "morph" / "3"))
    assert not [name for name in store.find("/bucket") if "uploading" in name]


def test_an_upload_that_breaks_off_is_not_a_version_and_can_be_made_again(bucket, model_dir, monkeypatch):
    store, url = bucket
    number = count()
    copy = type(store).cp_file

    def break_off(self, source, target, **_):
        if next(number) == 1:
            raise OSError("the line is down")
        copy(self, source, target)

    monkeypatch.setattr(type(store), "cp_file", break_off)
    with pytest.raises(InputError, match="the line is down"):
        upload(url, model_dir)
    assert Remote(url).versions("morph") == []
    assert not [name for name in store.find("/bucket") if "uploading" in name]
    upload(url, model_dir)
    assert Remote(url).versions("morph") == [3]


def test_versions_count_up_and_configurations_of_the_user_stay(bucket, classifier, model_dir):
    store, url = bucket
    upload(url, model_dir)
    store.pipe("/bucket/models/models.config", b"mine")
    upload(url, model_dir)
    assert store.cat("/bucket/models/models.config") == b"mine"
    with pytest.raises(InputError, match="memory://bucket/models/morph/3' exists; choose a version above 3"):
        export_model(classifier, url, version=3)


def test_a_store_whose_package_is_missing_or_unknown_is_one_sentence(monkeypatch):
    monkeypatch.setitem(known_implementations, "lost", {"class": "lostfs.LostFileSystem", "err": "Install lostfs"})
    with pytest.raises(InputError, match="lost:// needs the package lostfs; `pip install lostfs`"):
        Remote("lost://bucket")
    with pytest.raises(InputError, match="Protocol not known: nowhere"):
        Remote("nowhere://bucket")


def test_a_file_url_is_a_local_folder(tmp_path):
    assert not is_url(tmp_path)
    assert not is_url(f"file://{tmp_path}")
    assert local(f"file://{tmp_path}") == tmp_path
    assert is_url("s3://bucket")
    with pytest.raises(InputError, match="'s3://bucket' is not a folder on this machine"):
        local("s3://bucket")
