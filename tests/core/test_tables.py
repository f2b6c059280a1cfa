import numpy as np
import pandas as pd
import pytest

from cytocar._core import tables
from cytocar._core.errors import StudyError
from cytocar._core.schemas import SCHEMAS


def test_texts_stay_texts_and_unknown_numbers_stay_unknown(tmp_path):
    table = pd.DataFrame(
        {
            "sample_id": ["NA", "007"],
            "compartment": ["car", "host"],
            "subset": ["DN", ""],
            "n": [1, 2],
            "fraction": [1 / 3, np.nan],
            "low": [0.0, 1e-17],
            "high": [1.0, 1.0],
        }
    )
    tables.write(tmp_path, "subsets", table)
    back = tables.read(tmp_path, "subsets")
    assert list(back["sample_id"]) == ["NA", "007"]
    assert list(back["subset"]) == ["DN", ""]
    assert back["fraction"].isna().tolist() == [False, True]
    assert back["fraction"][0] == pytest.approx(1 / 3, rel=1e-9)
    assert back["low"][1] == 1e-17


def test_the_promised_columns_come_first_and_must_be_there(tmp_path):
    promised = SCHEMAS["subsets"].always
    table = pd.DataFrame({"extra": [1], **{c: [0] for c in reversed(promised)}})
    tables.write(tmp_path, "subsets", table)
    header = (tmp_path / "subsets.csv").read_text().splitlines()[0].split(",")
    assert tuple(header) == (*promised, "extra")
    with pytest.raises(KeyError, match=r"missing columns.*high"):
        tables.write(tmp_path, "subsets", table.drop(columns="high"))


def test_a_table_that_was_not_made_is_none(tmp_path):
    assert tables.read(tmp_path, "kinetics") is None


def test_a_table_without_schema_is_not_written(tmp_path):
    with pytest.raises(KeyError, match="'colours' has no schema"):
        tables.write(tmp_path, "colours", pd.DataFrame({"a": [1]}))


def test_columns_of_a_sheet_stay_where_the_sheet_has_them(tmp_path):
    promised = SCHEMAS["samples"].always
    table = pd.DataFrame({c: [0] for c in (*promised[:4], "age", *promised[4:])})
    tables.write(tmp_path, "samples", table)
    assert list(tables.read(tmp_path, "samples").columns) == list(table.columns)
    assert tables.read(tmp_path, "samples")["age"].tolist() == [0]


def test_names_of_rules_and_thresholds_stay_texts(tmp_path):
    (tmp_path / "multiverse.csv").write_text("kind,rule_007,rule_CD3,result\nfound,,1,2.5\n")
    back = tables.read(tmp_path, "multiverse")
    assert back.iloc[0].tolist() == ["found", "", "1", 2.5]


def test_names_of_batches_stay_texts(tmp_path):
    (tmp_path / "batches.csv").write_text("cluster,batch_most,explained\n01,1,\n")
    back = tables.read(tmp_path, "batches")
    assert back.iloc[0, :2].tolist() == ["01", "1"]
    assert back["explained"].isna().all()


def test_tables_of_other_versions_keep_their_texts_too(tmp_path):
    (tmp_path / "former.csv").write_text("sample_id,value\n007,2\n")
    assert tables.read(tmp_path, "former").iloc[0].tolist() == ["007", 2]


def test_words_in_a_column_of_numbers_are_named(tmp_path):
    (tmp_path / "clusters.csv").write_text("cluster,n\n1,many\n")
    with pytest.raises(StudyError, match=r"clusters.csv: n should hold numbers"):
        tables.read(tmp_path, "clusters")
    (tmp_path / "clusters.csv").write_text("cluster,n\n")
    assert tables.read(tmp_path, "clusters").empty
