from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytocar._core.errors import Problem
from cytocar._core.ordering import timepoint_order
from cytocar.io._study.samples import load_samples

HEADER = "file,sample_id,patient_id,timepoint,months"


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    (tmp_path / "fcs").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "fcs" / f"{name}.fcs").touch()
    return tmp_path / "samples.csv"


def load(sheet: Path, *rows: str, header: str = HEADER) -> pd.DataFrame:
    sheet.write_text("\n".join([header, *rows]), encoding="utf-8")
    table, problems = load_samples(sheet)
    assert not problems
    assert table is not None
    return table


def problems_of(sheet: Path, *rows: str, header: str = HEADER) -> list[Problem]:
    sheet.write_text("\n".join([header, *rows]), encoding="utf-8")
    table, problems = load_samples(sheet)
    assert table is None
    return problems


def test_rows_are_sorted_by_patient_and_months_with_controls_last(sheet: Path) -> None:
    table = load(
        sheet,
        "fcs/a.fcs,late,P1,5yr,60,",
        "fcs/b.fcs,tube,,,,negative_control",
        "fcs/c.fcs,early,P1,2mo,2,patient",
        "fcs/d.fcs,before,P1,pre,-0.5,",
        header=HEADER + ",role",
    )
    assert list(table["sample_id"]) == ["before", "early", "late", "tube"]
    assert list(table["role"]) == ["patient", "patient", "patient", "negative_control"]
    assert table["months"].dtype == np.float64
    assert list(table["months"][:3]) == [-0.5, 2, 60]
    assert np.isnan(table["months"].iloc[3])
    assert list(table["patient_id"]) == ["P1", "P1", "P1", ""]
    assert table["path"].iloc[0] == (sheet.parent / "fcs" / "d.fcs").resolve()
    assert timepoint_order(table) == ["pre", "2mo", "5yr"]


def test_absolute_relative_and_windows_paths(sheet: Path) -> None:
    absolute = sheet.parent / "fcs" / "a.fcs"
    table = load(sheet, f"{absolute},s1,P,t,1", "fcs/../fcs/b.fcs,s2,P,u,2", "fcs\\c.fcs,s3,P,v,3")
    assert [path.name for path in table["path"]] == ["a.fcs", "b.fcs", "c.fcs"]
    assert all(path.is_absolute() for path in table["path"])


def test_optional_columns_are_numbers_or_text(sheet: Path) -> None:
    table = load(
        sheet,
        "fcs/a.fcs,s1,P,t,1,HD,1250.5,",
        "fcs/b.fcs,s2,P,u,2,,,na",
        header=HEADER + ",group,lymphocytes_per_ul,wbc_per_ul",
    )
    assert list(table["group"]) == ["HD", ""]
    assert table["lymphocytes_per_ul"].tolist()[0] == 1250.5
    assert np.isnan(table["lymphocytes_per_ul"].iloc[1])
    assert table["wbc_per_ul"].isna().all()
    assert "batch" not in table


def test_semicolons_decimal_commas_and_numbers_as_names(sheet: Path) -> None:
    table = load(sheet, "fcs/a.fcs;007;12;1;0,25", header=HEADER.replace(",", ";"))
    assert table.loc[0, ["sample_id", "patient_id", "timepoint"]].tolist() == ["007", "12", "1"]
    assert table["months"][0] == 0.25


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("fcs/x.fcs,s,P,t,1", "file 'fcs/x.fcs' does not exist"),
        ("fcs,s,P,t,1", "file 'fcs' is a folder"),
        (",s,P,t,1", "file is empty"),
        ("fcs/a.fcs,,P,t,1", "sample_id is empty"),
        ("fcs/a.fcs,a/b,P,t,1", "sample_id is 'a/b'"),
        ("fcs/a.fcs,s,P,t,two", "months is 'two'"),
        ("fcs/a.fcs,s,P,t,inf", "months is 'inf'"),
        ("fcs/a.fcs,s,P,t,1_0", "months is '1_0'"),
        ("fcs/a.fcs,s,P,t,", "months of sample 's' is empty"),
        ("fcs/a.fcs,s,P,t,NaN", "months of sample 's' is empty"),
        ("fcs/a.fcs,s,,,", "patient_id, timepoint, months of sample 's' are empty"),
        ("fcs/a.fcs,s,P,t,1,patent", "role is 'patent'"),
        ("fcs/a.fcs,s,P,t,1,,-3", "lymphocytes_per_ul is '-3'"),
        ("fcs/a.fcs,s,P,t,1,,many", "lymphocytes_per_ul is 'many'"),
    ],
)
def test_each_problem_has_its_line_and_value(row: str, what: str, sheet: Path) -> None:
    (problem,) = problems_of(sheet, row, header=HEADER + ",role,lymphocytes_per_ul")
    assert problem.what == what
    assert problem.where == f"{sheet}, line 2"
    assert problem.fix


def test_all_problems_at_once(sheet: Path) -> None:
    found = problems_of(
        sheet,
        "fcs/a.fcs,s1,P1,2mo,2",
        "# a remark",
        "fcs/a.fcs,s1,P1,2mo,3",
        "fcs/e.fcs,s2,P1,2mo,x",
        "fcs/b.fcs,s3,P2,2mo,4",
    )
    assert [(problem.where.rsplit(" ", 1)[1], problem.what) for problem in found] == [
        ("5", "file 'fcs/e.fcs' does not exist"),
        ("5", "months is 'x'"),
        ("4", "sample_id 's1' is also on line 2"),
        ("4", "file 'fcs/a.fcs' is also on line 2"),
        ("4", "timepoint '2mo' of patient 'P1' is at 3 months, on line 2 at 2"),
    ]


def test_a_missing_file_names_the_nearest_one(sheet: Path) -> None:
    (sheet.parent / "fcs" / "LEGEND2_1yr.fcs").touch()
    (problem,) = problems_of(sheet, "fcs/LEGEND_1yr.fcs,s,P,t,1")
    assert "did you mean 'LEGEND2_1yr.fcs'?" in problem.fix
    (problem,) = problems_of(sheet, "fsc/a.fcs,s,P,t,1")
    assert f"there is no folder {sheet.parent / 'fsc'}" in problem.fix
    (problem,) = problems_of(sheet, "a.fcs,s,P,t,1")
    assert "there are no FCS files in" in problem.fix


def test_missing_and_mistyped_columns(sheet: Path) -> None:
    found = problems_of(
        sheet, "fcs/a.fcs,s,P,t,1,x", header="file,sample,patient_id,timepoint,months,lymphocytes"
    )
    assert found[0].what.startswith("has no column 'sample_id'; its columns are file, sample, patient_id")
    assert [(p.what, p.fix) for p in found[1:]] == [
        ("column 'sample' is not known", "did you mean 'sample_id'?"),
        ("column 'lymphocytes' is not known", "did you mean 'lymphocytes_per_ul'?"),
    ]


def test_a_column_of_the_user_is_left_alone(sheet: Path) -> None:
    table = load(sheet, "fcs/a.fcs,s,P,t,1,blue", header=HEADER + ",patient")
    assert "patient" not in table


def test_columns_that_are_asked_for_are_numbers_where_all_of_them_are(sheet: Path) -> None:
    rows = "fcs/a.fcs,s,P,t,1,64,blue,secret\nfcs/b.fcs,u,P,v,2,,3,secret"
    sheet.write_text(HEADER + ",age,colour,name\n" + rows + "\n", encoding="utf-8")
    table, problems = load_samples(sheet, also=["age", "colour", "months", "nobody"])
    assert problems == []
    assert table is not None
    assert table["age"].iloc[0] == 64
    assert np.isnan(table["age"].iloc[1])
    assert table["colour"].tolist() == ["blue", "3"]
    assert table["months"].tolist() == [1, 2]
    assert not {"name", "nobody"} & set(table.columns)


def test_no_sheet(tmp_path: Path) -> None:
    table, (problem,) = load_samples(tmp_path / "samples.csv")
    assert table is None
    assert problem.what == "there is no such file"


def test_one_wrong_column_is_one_problem_with_its_lines(sheet: Path) -> None:
    rows = [f"fcs/a.fcs,s{n},P,t{n},{n} mo" for n in range(1, 10)]
    problems = [p for p in problems_of(sheet, *rows) if "months" in p.what]
    assert len(problems) == 1
    assert problems[0].where.endswith("lines 2 to 10")
    assert problems[0].what.startswith("months is '1 mo' (line 2), '2 mo' (line 3)")
    assert problems[0].what.endswith("and 3 other values")


def test_samples_without_a_time_are_one_problem_that_names_them(sheet: Path) -> None:
    rows = [f"fcs/a.fcs,s{n},P,t," for n in range(1, 4)]
    (problem,) = [p for p in problems_of(sheet, *rows) if "months" in p.what]
    assert problem.what == "months of samples 's1', 's2', 's3' are empty"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("filename", "file"), ("FCS file", "file"), ("path", "file"), ("sample", "sample_id"), ("name", "sample_id"),
        ("subject", "patient_id"), ("donor_id", "patient_id"), ("time", "timepoint"), ("visit", "timepoint"),
        ("month", "months"), ("Patient ID", "patient_id"),
    ],
)  # fmt: skip
def test_what_other_programs_call_a_column_is_asked_back(name: str, meant: str, sheet: Path) -> None:
    header = HEADER.replace(meant, name)
    problems = problems_of(sheet, "fcs/a.fcs,s,P,t,1", header=header)
    assert any(
        p.what == f"column {name.casefold()!r} is not known" and p.fix == f"did you mean {meant!r}?"
        for p in problems
    )


def test_a_path_of_a_windows_computer_is_named_so(sheet: Path) -> None:
    (problem,) = problems_of(sheet, r"C:\\runs\\a.fcs,s,P,t,1")
    assert "Windows" in problem.fix
