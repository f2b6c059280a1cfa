import numpy as np
import pandas as pd
import pytest

from cytocar._core import tables


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
    table = pd.DataFrame({"extra": [1], **{c: [0] for c in reversed(tables.COLUMNS["subsets"])}})
    tables.write(tmp_path, "subsets", table)
    header = (tmp_path / "subsets.csv").read_text().splitlines()[0].split(",")
    assert tuple(header) == (*tables.COLUMNS["subsets"], "extra")
    with pytest.raises(KeyError, match=r"lacks.*high"):
        tables.write(tmp_path, "subsets", table.drop(columns="high"))


def test_a_table_that_was_not_made_is_none(tmp_path):
    assert tables.read(tmp_path, "kinetics") is None


def test_names_of_rules_and_thresholds_stay_texts(tmp_path):
    table = pd.DataFrame({"threshold": ["007"], "kind": ["found"], "rule_007": [""], "rule_CD3": ["1"]})
    tables.write(tmp_path, "multiverse", table)
    back = tables.read(tmp_path, "multiverse")
    assert back.iloc[0].tolist() == ["007", "found", "", "1"]
