"""What was written in a format that is not known yet is refused in one sentence."""

import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from morph.checks import DATASET_FORMAT, FORMAT, check_format
from morph.dataset import Galaxies, GalaxiesWriter, Galaxy
from morph.errors import InputError
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


def test_a_model_of_a_newer_morph_is_refused(tmp_path):
    with zipfile.ZipFile(SHIPPED) as shipped, zipfile.ZipFile(tmp_path / "new.keras", "w") as newer:
        for name in shipped.namelist():
            content = shipped.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"][FORMAT] = 2
                content = json.dumps(config).encode()
            newer.writestr(name, content)
    with pytest.raises(InputError, match=r"The model '.*new\.keras' has format 2"):
        load_model(tmp_path / "new.keras")
