"""Text tables of every dialect: where the header is, how rows are written, and which line is wrong."""

import gzip

import numpy as np
import pytest

from morph.catalogs import base, text_rows
from morph.catalogs.catalog import read_catalog
from morph.errors import InputError

ROWS = "1237648720693755918,59.0,-52.8\n00071,59.001,-52.801\n"
IDS = ["1237648720693755918", "00071"]

DIALECTS = {
    "plain": "objid,ra,dec\n" + ROWS,
    "no newline at the end": "objid,ra,dec\n" + ROWS.rstrip("\n"),
    "SkyServer": "#Table1\nobjid,ra,dec\n" + ROWS,
    "comments": "# from my notebook, with commas\n\n# and more\nobjid,ra,dec\n" + ROWS,
    "commented header": "# made by hand\n# objid,ra,dec\n" + ROWS,
    "comments among the rows": "objid,ra,dec\n" + ROWS.replace("\n", "\n# the next is good\n\n"),
    "ECSV": "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n# - {name: objid, datatype: string}\n"
    "# - {name: ra, datatype: float64, unit: deg}\n# - {name: dec, datatype: float64}\nobjid,ra,dec\n" + ROWS,
    "blanks after commas": "objid, ra, dec\n" + ROWS.replace(",", ", "),
    "quotes after blanks": 'objid, ra, dec, note\n"1237648720693755918", 59.0, -52.8, "a, b"\n'
    "00071, 59.001, -52.801, c\n",
    "quoted comma": '"objid","mag, r",ra,dec\n1237648720693755918,20,59.0,-52.8\n00071,20,59.001,-52.801\n',
    "quoted line end": 'note,objid,ra,dec\n"a\nb",1237648720693755918,59.0,-52.8\n"c""d",00071,59.001,-52.801\n',
    "byte order mark": "\ufeffobjid,ra,dec\n" + ROWS,
    "CRLF": ("objid,ra,dec\n" + ROWS).replace("\n", "\r\n"),
    "CR": ("objid,ra,dec\n" + ROWS).replace("\n", "\r"),
    "semicolons": ("objid,ra,dec\n" + ROWS).replace(",", ";"),
    "tabs": ("objid,ra,dec\n" + ROWS).replace(",", "\t"),
    "bars": ("objid,ra,dec\n" + ROWS).replace(",", "|"),
    "blanks": ("objid,ra,dec\n" + ROWS).replace(",", "   "),
    "blanks and tabs": ("  objid,ra,dec\n" + ROWS).replace(",", " \t "),
    "commented header with blanks": ("# objid,ra,dec\n" + ROWS).replace(",", "  "),
    "trailing commas": ("objid,ra,dec\n" + ROWS).replace("\n", ",\n"),
    "trailing commas of the rows": "objid,ra,dec\n" + ROWS.replace("\n", ",\n"),
    "trailing comma of the header": "objid,ra,dec,\n" + ROWS,
    "index": ",objid,ra,dec\n0,1237648720693755918,59.0,-52.8\n1,00071,59.001,-52.801\n",
    "VizieR": "#RESOURCE=yCat\n#Column RAJ2000\n\nobjid\tRAJ2000\tDEJ2000\n \tdeg\tdeg\n---\t-----\t-----\n"
    + ROWS.replace(",", "\t"),
    "IPAC": "\\fixlen = T\n|objid              |ra    |dec    |\n|char               |double|double |\n"
    " 1237648720693755918 59.0   -52.8   \n 00071               59.001 -52.801 \n",
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_the_same_table(tmp_path, name):
    path = tmp_path / "a.csv"
    path.write_bytes(DIALECTS[name].encode())
    found = read_catalog(path)
    assert found["id"].tolist() == IDS
    np.testing.assert_array_equal(found["ra"], [59.0, 59.001])
    np.testing.assert_array_equal(found["dec"], [-52.8, -52.801])
    assert len(read_catalog(path, where="dec < -52.8005" if name != "VizieR" else "DEJ2000 < -52.8005")) == 1


@pytest.mark.parametrize(
    "written",
    [
        DIALECTS["plain"].encode("utf-16"),
        gzip.compress(DIALECTS["plain"].encode()),
        DIALECTS["plain"]
        .replace("objid", "é,objid")
        .replace("\n1", "\nñ,1")
        .replace("\n0", "\nñ,0")
        .encode("latin-1"),
    ],
    ids=["utf-16", "gzip", "latin-1"],
)
def test_the_content_decides_how_it_is_read(tmp_path, written):
    (tmp_path / "a.cat").write_bytes(written)
    assert read_catalog(tmp_path / "a.cat")["id"].tolist() == IDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# by hand\nid,ra,dec\na,1,2\nb,3\n", "Line 4 of .* has 2 columns where the header has 3: 'b,3'"),
        ('id,ra,dec,note\na,1,2,"x\ny"\n\nb,3,4,z\nc,5,6,7,8\n', "Line 6 of .* has 5 columns"),
        ("id ra dec\na 1 2\nb 3 4 5\n", "Line 3 of .* has 4 columns"),
        ('id,ra,dec,note\na,1,2,x\nb,3,4,"y\nc,5,6,z\n', "Line 3 of .* cannot be read"),
        ("1,59.0,-52.8\n2,59.1,-52.9\n", "no header: its first line is '1,59.0,-52.8'"),
        ("# id,ra,dec\n", "has no rows"),
        ("id,ra,dec,ra\na,1,2,3\n", "two columns called 'ra'"),
        ("id,ra\0dec\n", "not text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_catalog(tmp_path / "a.csv")


@pytest.mark.parametrize("delimiter", [",", " "])
def test_rows_come_some_at_a_time(tmp_path, monkeypatch, delimiter):
    lines = ["id,ra,dec", *(f"{i},{i / 100},5" for i in range(3000))]
    (tmp_path / "a.csv").write_text("\n".join(lines).replace(",", delimiter))
    monkeypatch.setattr(base, "ROWS", 1000)
    monkeypatch.setattr(text_rows, "BLOCK", 1 << 14)
    found = read_catalog(tmp_path / "a.csv", where="ra >= 1")
    assert found["id"].tolist() == [str(i) for i in range(100, 3000)]
