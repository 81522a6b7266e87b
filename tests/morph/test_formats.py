"""What was written in a format that is not known yet is refused in one sentence."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from morph.checks import DATASET_FORMAT, FORMAT, check_format
from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.model import store
from morph.model.store import load_model
from morph.registry import SHIPPED
from morph.votes import empty_votes


@pytest.mark.parametrize("found", [2, 0, -1, "1", 1.5])
def test_another_format_is_refused_and_says_what_to_do(found):
    with pytest.raises(InputError, match=r"The model 'm' has format .*; morph .* reads formats up to 1\. Install"):
        check_format(found, 1, "model", "m")


@pytest.mark.parametrize("found", [None, 1, 2])
def test_a_known_format_and_none_are_read(found):
    check_format(found, 2, "model", "m")


def test_a_dataset_bears_its_format_and_one_of_a_newer_morph_is_refused(tmp_path):
    with GalaxiesWriter(tmp_path / "set", "flux", size=4) as writer:
        writer.add(Galaxy("a", "sdss", np.zeros((4, 4, 3), "float32"), empty_votes()))
    part = tmp_path / "set" / "part-00000.parquet"
    table = pq.read_table(part)
    about = json.loads(table.schema.metadata[b"morph"])
    assert about.pop(FORMAT) == DATASET_FORMAT
    pq.write_table(table.replace_schema_metadata({"morph": json.dumps(about)}), part)
    assert len(Galaxies.open(tmp_path / "set")) == 1, "one of before the numbers"
    pq.write_table(table.replace_schema_metadata({"morph": json.dumps({**about, FORMAT: 9})}), part)
    with pytest.raises(InputError, match=r"The dataset '.*set' has format 9"):
        Galaxies.open(tmp_path / "set")


def in_format(number: int | None, to: Path, about: dict) -> Path:
    """The shipped model, said to have another format and training."""
    with zipfile.ZipFile(SHIPPED) as shipped, zipfile.ZipFile(to, "w") as other:
        for name in shipped.namelist():
            content = shipped.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"] |= {FORMAT: number, "about": about}
                content = json.dumps(config).encode()
            other.writestr(name, content)
    return to


def test_a_model_of_a_newer_morph_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"The model '.*new\.keras' has format 99"):
        load_model(in_format(99, tmp_path / "new.keras", {}))


@pytest.mark.parametrize(
    ("about", "command"),
    [
        (
            {"parent": "models:/morph@sdss", "trained_on": ["mine"]},
            "morph finetune models:/morph@sdss mine --to old.keras",
        ),
        ({"trained_on": ["gz1", "gz2"]}, "morph pretrain gz1 gz2 --to old.keras"),
        ({}, "morph pretrain DATASET --to old.keras"),
    ],
)
@pytest.mark.parametrize("number", [None, 1])
def test_a_model_of_before_is_refused_with_the_command_that_makes_it_anew(
    tmp_path, monkeypatch, number, about, command
):
    monkeypatch.setattr(store, "OLDEST_MODEL_FORMAT", 2)
    with pytest.raises(InputError, match=f"old.keras' was made by an earlier morph .* by `{command}`"):
        load_model(in_format(number, tmp_path / "old.keras", about))
