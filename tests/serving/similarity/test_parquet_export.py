"""An index as Parquet files for other databases."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from morph.errors import InputError
from serving.similarity import Index
from serving.similarity.parquet_export import export_parquet


def test_each_galaxy_is_exported_once_with_its_vector_and_row(galaxies_index, tmp_path, vectors, monkeypatch):
    monkeypatch.setattr("serving.similarity.parquet_export.ROWS", 300)
    index = Index.open(galaxies_index)
    paths = export_parquet(index, tmp_path / "parquet")
    assert paths == sorted((tmp_path / "parquet").iterdir())
    assert len(paths) == len(index.shards)
    assert pq.ParquetFile(paths[0]).metadata.num_row_groups == 4
    table = pa.concat_tables(pq.read_table(path) for path in paths)
    assert table["key"].to_pylist() == list(range(3000))
    assert table.schema.field("vector").type == pa.list_(pa.float32())
    row = {name: table[name].to_pylist() for name in ("id", "mag_r", "_healpix_29")}
    which = row["id"].index("b-7")
    np.testing.assert_allclose(table["vector"][which].as_py(), vectors[1007], atol=1e-3)
    assert {name: values[which] for name, values in row.items()} == {name: index.row_of("b-7")[name] for name in row}
    # The nearest by these vectors alone are those of the index.
    matrix = np.stack(table["vector"].to_numpy())
    nearest = np.argsort(-matrix @ index.vector_of("b-7"))[:10]
    assert [row["id"][k] for k in nearest] == index.search(index.vector_of("b-7"), n=10)["id"].to_pylist()


def test_nothing_is_overwritten(galaxies_index, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not an empty folder"):
        export_parquet(Index.open(galaxies_index), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
