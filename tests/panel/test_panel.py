from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cytocar import PanelError
from cytocar._core.errors import Problem
from cytocar.panel import Panel, builtin_names
from cytocar.panel._panel import load_panel

COLUMNS = ["channel", "marker", "marker_class", "role", "metal", "mass", "used_for_clustering", "cofactor"]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "panel.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems_of(path: Path) -> list[Problem]:
    panel, problems = load_panel(path)
    assert (panel is None) == bool(problems)
    return problems


class TestBuiltin:
    def test_names(self) -> None:
        assert {"exhaustion", "legend2", "maxpar_direct"} <= set(builtin_names())

    def test_legend2_is_the_panel_of_the_study(self) -> None:
        panel = Panel.read("legend2")
        frame = panel.frame
        assert list(frame.columns) == COLUMNS
        assert panel.name == "legend2"
        antibodies = frame[frame["role"] == "marker"]
        assert len(antibodies) == 41
        assert int(frame["used_for_clustering"].sum()) == 33
        gate_only = set(antibodies.loc[~antibodies["used_for_clustering"], "marker"])
        assert gate_only == {"CD45", "CD66b", "CD19", "CD14", "CD11b", "CD11c", "VHH", "CD3"}
        assert frame.set_index("marker").loc["GZMB", "channel"] == "Yb171Di"
        roles = frame["role"].value_counts().to_dict()
        assert (roles["dna"], roles["viability"], roles["bead"], roles["background"]) == (2, 2, 1, 3)
        # A channel is one row, though beads and an antibody share four of them.
        assert frame["mass"].dropna().is_unique
        assert set(frame.loc[frame["metal"] == "Eu", "marker"]) == {"CD107a", "TIGIT"}

    def test_exhaustion_has_standard_names_and_keeps_the_car_out_of_clustering(self) -> None:
        frame = Panel.read("exhaustion").var
        assert len(frame) == 35
        assert frame.loc["PD-1", "channel"] == "Yb174Di"
        assert frame.loc["LAG-3", "channel"] == "Ho165Di"
        assert frame.loc["TIM-3", "channel"] == "Eu153Di"
        assert list(frame.loc[["CD4", "CD8a", "CAR_ID"], "marker_class"]) == ["type"] * 3
        assert not frame.loc["CAR_ID", "used_for_clustering"]

    def test_maxpar_direct(self) -> None:
        panel = Panel.read("maxpar_direct")
        assert (panel.frame["role"] == "marker").sum() == 30
        assert set(panel.frame.loc[panel.frame["role"] == "bead", "mass"]) == {140, 165, 175}

    def test_an_unknown_name_says_what_is_near(self) -> None:
        with pytest.raises(PanelError, match=r"legend3.*; did you mean 'legend2'"):
            Panel.read("legend3")

    @pytest.mark.parametrize("name", builtin_names())
    def test_to_csv_is_read_back(self, name: str, tmp_path: Path) -> None:
        panel = Panel.read(name)
        again = Panel.read(write(tmp_path, panel.to_csv()))
        assert again.frame.equals(panel.frame)


class TestDerived:
    def test_two_columns_are_enough(self, tmp_path: Path) -> None:
        panel = Panel.read(
            write(tmp_path, "channel,marker\nYb171Di,GZMB\nEr170Di,CD3\nIr191Di,DNA1\nTime,Time\n")
        )
        rows = panel.frame.to_dict("records")
        assert [row["role"] for row in rows] == ["marker", "marker", "dna", "time"]
        assert [row["marker_class"] for row in rows] == ["state", "type", "none", "none"]
        assert [row["used_for_clustering"] for row in rows] == [True, True, False, False]
        assert [row["metal"] for row in rows] == ["Yb", "Er", "Ir", ""]
        assert list(panel.frame["mass"].dropna()) == [171, 170, 191]
        assert [row["cofactor"] for row in rows[:3]] == [5, 5, 5]
        assert np.isnan(rows[3]["cofactor"])
        assert panel.markers == ("GZMB", "CD3", "DNA1")
        assert panel.find("gzmb") == "GZMB"
        assert panel.find("Time") is None

    def test_what_the_file_gives_is_kept(self, tmp_path: Path) -> None:
        text = (
            "channel,marker,marker_class,role,used_for_clustering,cofactor\n"
            "Yb171Di,CD3,none,barcode,1,2.5\n"
            "Er170Di,X,,,0,\n"
            "Er168Di,Y,none,marker,,\n"
        )
        frame = Panel.read(write(tmp_path, text), cofactor=7).frame
        assert list(frame.iloc[0])[2:4] == ["none", "barcode"]
        assert list(frame["used_for_clustering"]) == [True, False, False]
        assert list(frame["cofactor"]) == [2.5, 7, 7]

    @pytest.mark.parametrize(
        "header", ["fcs_colname,antigen", "channel_name,marker_name", "Channel,Antigen", "fcs_colname,Marker"]
    )
    def test_aliases(self, header: str, tmp_path: Path) -> None:
        panel = Panel.read(write(tmp_path, f"{header}\nYb171Di,GZMB\n"))
        assert panel.markers == ("GZMB",)

    def test_var_has_a_whole_mass_and_the_marker_as_index(self) -> None:
        var = Panel.from_channels([("Time", ""), ("Yb171Di", "CD3")]).var
        assert list(var.index) == ["CD3"]
        assert var["mass"].dtype == np.int64
        assert var.loc["CD3", "mass"] == 171

    def test_metal_and_mass_may_stand_in_their_own_columns(self, tmp_path: Path) -> None:
        frame = Panel.read(
            write(tmp_path, "channel,marker,metal,mass\nCD19,CD19,142Nd,\npS6,pS6,Sm,147\n")
        ).frame
        assert list(zip(frame["metal"], frame["mass"], strict=True)) == [("Nd", 142), ("Sm", 147)]


class TestFiles:
    ROWS = ("channel,marker", "Yb171Di,TCRγδ", "Er170Di,CD3")

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings_and_line_ends(self, encoding: str, end: str, tmp_path: Path) -> None:
        panel = Panel.read(write(tmp_path, end.join(self.ROWS).encode(encoding)))
        assert panel.markers == ("TCRγδ", "CD3")

    def test_latin_1(self, tmp_path: Path) -> None:
        panel = Panel.read(write(tmp_path, "channel,marker\nYb171Di,Käse µ\n".encode("latin-1")))
        assert panel.markers == ("Käse µ",)

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_separators_and_the_decimal_comma(self, separator: str, tmp_path: Path) -> None:
        text = "channel,marker,cofactor\nYb171Di,CD3,2.5\n".replace(",", separator).replace("2.5", "2,5")
        assert Panel.read(write(tmp_path, text)).frame["cofactor"][0] == 2.5

    def test_a_separator_named_in_the_first_line(self, tmp_path: Path) -> None:
        assert Panel.read(write(tmp_path, "sep=;\nchannel;marker\nYb171Di;a,b,c\n")).markers == ("a,b,c",)

    def test_comments_empty_lines_and_trailing_separators_are_skipped(self, tmp_path: Path) -> None:
        text = "# my panel\n\nchannel,marker,,\n# no more\nYb171Di,CD3,,\n,,,\n"
        assert Panel.read(write(tmp_path, text)).markers == ("CD3",)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "the table is empty"),
            (b"channel,marker\n", "has a header but no rows"),
            (b"PK\x03\x04xyz", "a damaged workbook, not text"),
            (b"channel,marker\0\n", "not a text file"),
            (b"channel,channel_name,marker\nA,B,C\n", "2 columns are called (or mean) 'channel'"),
            (b"channel,marker\nYb171Di,CD3,1,2\n", "4 cells, but the header names 2 columns"),
        ],
    )
    def test_what_is_no_table(self, content: bytes, what: str, tmp_path: Path) -> None:
        (problem,) = problems_of(write(tmp_path, content))
        assert what in problem.what

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        assert problems_of(tmp_path / "no.csv")[0].what == "there is no such file"
        assert "folder" in problems_of(tmp_path)[0].what


class TestProblems:
    def test_all_are_found_at_once_with_their_lines(self, tmp_path: Path) -> None:
        rows = [
            "channel,marker,marker_class,role,metal,mass,used_for_clustering,cofactor",
            "Yb171Di,CD3,type,marker,,,1,5",
            "(Yb171)Dd,CD4,type,marker,,,1,5",
            "Er170Di,PD-1,stat,marker,,,1,5",
            "Er168Di,pd1,state,markr,,,1,5",
            "Er166Di,,state,marker,,,1,5",
            "Quark7,CD8,type,marker,,,1,5",
            "Nd142Di,CD19,type,marker,,,yes please,-5",
            "Nd143Di,CD20,type,marker,Sm,,1,nan",
            "Nd144Di,CD22,type,marker,Zz,,1,5",
            "Nd145Di,CD24,type,time,,x,1,5",
            ",CD25,type,marker,,,1,5",
            "Time,Time,none,time,,,1,",
            "Nd146Di,a/b,state,marker,,,1,0",
            "Nd148Di,CD27,state,marker,Nd,150,1,5",
        ]
        found = problems_of(write(tmp_path, "\n".join(rows)))
        cofactors = next(problem for problem in found if problem.what.startswith("cofactor"))
        assert cofactors.where.endswith("lines 8, 9, 14")
        assert cofactors.what == "cofactor is '-5' (line 8), 'nan' (line 9), '0' (line 14)"
        told = {
            (int(problem.where.rsplit("line ", 1)[1]), problem.what)
            for problem in found
            if problem != cofactors
        }
        assert told == {
            (3, "channel '(Yb171)Dd' (CD4) is the same as 'Yb171Di' on line 2"),
            (4, "marker_class is 'stat'"),
            (5, "role is 'markr'"),
            (5, "marker 'pd1' is the same name as 'PD-1' on line 4"),
            (6, "marker of channel 'Er166Di' is empty"),
            (7, "channel 'Quark7' names no isotope"),
            (8, "used_for_clustering is 'yes please'"),
            (9, "channel 'Nd143Di' is Nd143, but metal and mass say Sm143"),
            (10, "metal is 'Zz'"),
            (11, "mass is 'x'"),
            (11, "channel 'Nd145Di' has a mass, but its role is 'time'"),
            (12, "channel of marker 'CD25' is empty"),
            (13, "channel 'Time' is used for clustering, but it has no mass"),
            (14, "marker 'a/b' has a slash"),
            (15, "channel 'Nd148Di' is Nd148, but metal and mass say Nd150"),
        }
        fixes = {problem.what: problem.fix for problem in found}
        assert fixes["role is 'markr'"] == "did you mean 'marker'?"
        assert fixes["marker_class is 'stat'"] == "did you mean 'state'?"

    def test_one_wrong_column_is_one_problem(self, tmp_path: Path) -> None:
        rows = [f"Yb{mass}Di,M{mass},marker,0" for mass in range(168, 177)]
        (problem,) = problems_of(write(tmp_path, "\n".join(["channel,marker,role,cofactor", *rows])))
        assert problem.where.endswith("lines 2 to 10")
        assert problem.what == "cofactor is '0' in 9 rows"
        rows = [f"Yb{mass}Di,M{mass},antibody," for mass in range(168, 177)]
        (problem,) = problems_of(write(tmp_path, "\n".join(["channel,marker,role,cofactor", *rows])))
        assert problem.what == "role is 'antibody' in 9 rows"

    def test_missing_columns_are_named(self, tmp_path: Path) -> None:
        (problem,) = problems_of(write(tmp_path, "chanel,marker\nYb171Di,CD3\n"))
        assert problem.what == "has no column 'channel'; its columns are chanel, marker"
        assert "fcs_colname" in problem.fix

    def test_read_raises_with_all_of_them(self, tmp_path: Path) -> None:
        path = write(tmp_path, "channel,marker\nFoo,CD3\nBar,CD4\n")
        with pytest.raises(PanelError, match=r"channels 'Foo', 'Bar' name no isotope"):
            Panel.read(path)


class TestFromChannels:
    def test_beads_of_one_name_are_told_apart_by_mass(self) -> None:
        panel = Panel.from_channels(
            [("Ce140Di", "140Ce_Bead"), ("Lu175Di", "175Lu_Bead"), ("Yb171Di", "CD3")]
        )
        assert panel.markers == ("Bead140", "Bead175", "CD3")
        assert list(panel.frame["role"]) == ["bead", "bead", "marker"]

    def test_markers_of_one_name_get_their_isotope(self) -> None:
        panel = Panel.from_channels([("Nd142Di", "CD3"), ("Nd143Di", "cd-3"), ("Time", None), ("Time", None)])
        assert list(panel.frame["marker"]) == ["CD3_142Nd", "cd-3_143Nd", "Time", "Time_2"]

    def test_markers_in_pnn(self) -> None:
        frame = Panel.from_channels([("CD19", "Nd142"), ("DNA1", "Ir191"), ("Condition", "Condition")]).frame
        assert list(frame["channel"]) == ["Nd142Di", "Ir191Di", "Condition"]
        assert list(frame["marker"]) == ["CD19", "DNA1", "Condition"]
        assert list(frame["role"]) == ["marker", "dna", "none"]

    def test_a_range_of_masses_goes_through_a_file(self, tmp_path: Path) -> None:
        channels = [("CD3(110:114)Dd", "CD3(110:114)Dd"), ("(Cd112)Dd", "CD4")]
        panel = Panel.from_channels(channels)
        assert panel.markers == ("CD3", "CD4")
        assert list(panel.frame["mass"]) == [112, 112]
        again = Panel.read(write(tmp_path, panel.to_csv()))
        assert list(again.match(channels[::-1], where="x").columns) == [1, 0]

    def test_real_panels_go_through_a_file(self, test_data: Path, tmp_path: Path) -> None:
        from cytocar.io._fcs.header import read_header

        for name in (
            "cart/Yescarta-Exhaustion-032219_CD19-HA-Control.fcs",
            "cohort/Data23_Panel3_base_R1.fcs",
            "debarcode/sample_barcoded_file.fcs",
            "gatingml/example_cytof_data_for_gatingML.fcs",
            "helios_beads/raw_cytof.fcs",
            "phenograph_h1/H1_PhenoGraph_cluster2.fcs",
        ):
            channels = read_header(test_data / name).names
            panel = Panel.from_channels(channels)
            assert len(panel) == len(channels)
            again = Panel.read(write(tmp_path, panel.to_csv()))
            assert again.frame.equals(panel.frame)
            match = again.match(channels, where=name)
            assert list(match.columns) == list(range(len(channels)))
            assert not match.problems
            assert not match.extra

    def test_a_panel_file_of_another_package_fits_its_files(self, test_data: Path) -> None:
        from cytocar.io._fcs.header import read_header

        panel = Panel.read(test_data / "cohort" / "PanelInfo_Data29_Panel3.csv")
        channels = read_header(test_data / "cohort" / "Data29_Panel3_base_R7.fcs").names
        match = panel.match(channels, where="R7")
        assert not match.problems
        assert not match.notes
        assert len(match.extra) == len(channels) - len(panel)

    def test_roles_of_a_raw_helios_file(self, test_data: Path) -> None:
        from cytocar.io._fcs.header import read_header

        panel = Panel.from_channels(read_header(test_data / "helios_beads/raw_cytof.fcs").names)
        roles = panel.frame.groupby("role")["channel"].agg(list).to_dict()
        assert roles["bead"] == ["Ce140Di", "Ce142Di", "Ho165Di", "Lu175Di"]
        assert roles["dna"] == ["Ir191Di", "Ir193Di"]
        assert roles["viability"] == ["Rh103Di"]
        assert "BCKG190Di" in roles["background"]
        assert len(roles["marker"]) == 32


class TestReadAsGuessed:
    @pytest.mark.parametrize("dialect", ["excel", "excel-tab"])
    def test_a_name_with_separators_in_it(self, dialect: str, tmp_path: Path) -> None:
        path = tmp_path / "panel.csv"
        with open(path, "w", newline="") as stream:
            csv.writer(stream, dialect=dialect).writerows([["channel", "marker"], ["Yb171Di", 'a, "b"\tc']])
        assert Panel.read(path).markers == ('a, "b"\tc',)
