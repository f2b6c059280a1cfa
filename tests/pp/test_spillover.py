"""The spillover matrix: read, written, fitted to a panel, estimated; and what it does to the CAR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cytocar as cc
from cytocar import ParameterError, StateError, StudyError
from cytocar.panel.names import Isotope
from cytocar.pp import Spillover
from cytocar.pp._spillover.estimate import trimmed_mean
from cytocar.pp._spillover.matrix import interaction
from cytocar.pp._spillover.read import load_spillover

NAMES = ("Yb171Di", "Yb172Di", "Yb173Di")
MATRIX = np.array([[1, 0.04, 0.005], [0.01, 1, 0.03], [0, 0.02, 1.0]])


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spill.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "Yb171Di,172Yb,(Yb173)Dd\n1,0.04,0.005\n0.01,1,0.03\n0,0.02,1\n",
        ',Yb171Di,Yb172Di,Yb173Di\n"Yb173Di",0,0.02,1\n171Yb,1,.04,5e-3\nYb172Dd,0.01,1,0.03\n',
        "channel;171Yb;172Yb;173Yb\n171Yb;1;0.04;0.005\n172Yb;0.01;1;0.03\n173Yb;0;0.02;1\n;;;\n",
        "\ufeffYb171Di,Yb172Di,Yb173Di\nYb171Di,1,0.04,0.005\nYb172Di,0.01,1,0.03\nYb173Di,0,0.02,1\n",
    ],
)
def test_spellings_of_a_file(tmp_path: Path, text: str) -> None:
    spill = cc.pp.read_spillover(written(tmp_path, text))
    assert spill == Spillover(NAMES, MATRIX)
    assert spill.channels == NAMES
    np.testing.assert_array_equal(spill.matrix, MATRIX)


@pytest.mark.parametrize(
    "text",
    [
        "channel,Yb171Di,Yb172Di\nYb172Di,0.01,1\n",
        "channel,Yb171Di,Yb172Di\nYb171Di,,\nYb172Di,0.01,1\n",
        "channel,Yb171Di,Yb172Di\nYb171Di,1,NA\nYb172Di,0.01,1\n",
        "Yb171Di,Yb172Di\n,\n0.01,1\n",
        "Yb171Di,Yb172Di\nnan,nan\n0.01,1\n",
    ],
)
def test_a_row_that_is_missing_or_empty_was_never_measured(tmp_path: Path, text: str) -> None:
    spill = cc.pp.read_spillover(written(tmp_path, text))
    assert spill.measured == (False, True)
    assert spill.matrix.tolist() == [[1, 0], [0.01, 1]]
    assert spill.frame.isna().sum(axis=1).tolist() == [2, 0]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_read_what_was_written(tmp_path_factory: pytest.TempPathFactory, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.where(rng.random((n, n)) < 0.4, 0.1 * rng.random((n, n)), 0)
    np.fill_diagonal(matrix, 1)
    matrix[rng.random(n) < 0.2] = np.nan
    spill = Spillover(tuple(f"Gd{155 + k}Di" for k in range(n)), matrix)
    path = tmp_path_factory.mktemp("spill") / "s.csv"
    spill.to_csv(path)
    again = cc.pp.read_spillover(path)
    assert again == spill
    np.testing.assert_array_equal(again.matrix, spill.matrix)


PROBLEMS = [
    ("Yb171Di,CD3\n1,0\n0,1\n", "'CD3' is not a mass channel"),
    ("Yb171Di,171Yb\n1,0\n0,1\n", "'171Yb' and 'Yb171Di' are one channel, Yb171"),
    ("Yb171Di,Yb172Di\n1,0\n", "1 rows and 2 columns: it is not square"),
    ("c,Yb171Di,Yb172Di\nYb173Di,1,0\n", "row 'Yb173Di' has no column"),
    ("c,Yb171Di\nCD3,1\nYb171Di,1\n", "'CD3' is not a mass channel"),
    ("Yb171Di,Yb172Di\n1,0\n0\n", "1 values, but the header names 2 channels"),
    ("Yb171Di,Yb172Di\n1,1.3\n0,1\n", "Yb171Di into Yb172Di: the value is 1.3"),
    ("Yb171Di,Yb172Di\n1,-0.01\n0,1\n", "Yb171Di into Yb172Di: the value is -0.01"),
    ("Yb171Di,Yb172Di,Yb173Di\n1,,0\n0,1,0\n0,0,1\n", "Yb171Di into Yb172Di: the value is missing"),
    ("Yb171Di,Yb172Di\n0.9,0\n0,1\n", "Yb171Di into Yb171Di: the diagonal is 0.9"),
    ("Yb171Di,Yb172Di\n100,2\n1,100\n", "looks like percent"),
    ("Yb171Di,Yb172Di\n1,1\n1,1\n", "singular"),
    ("Yb171Di,Yb172Di\n1,x\n0,1\n", "'x' is not a number"),
    ("Yb171Di,Yb172Di\n", "no row below the header"),
    ("", "the table is empty"),
]


@pytest.mark.parametrize(("text", "words"), PROBLEMS, ids=[words[:25] for _, words in PROBLEMS])
def test_problems(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    found, problems = load_spillover(path)
    assert found is None
    told = [str(problem) for problem in problems]
    assert any(words in text for text in told), told
    assert all(str(path) in problem.where for problem in problems)
    with pytest.raises(StudyError) as error:
        cc.pp.read_spillover(path)
    assert words in str(error.value)


def test_problems_are_told_at_once(tmp_path: Path) -> None:
    _, problems = load_spillover(written(tmp_path, "Yb171Di,Yb172Di\n1,1.3\n-2,0.5\n"))
    assert [problem.what for problem in problems] == [
        "the value is 1.3",
        "the value is -2",
        "the diagonal is 0.5",
    ]
    assert load_spillover(tmp_path / "none.csv")[1][0].what == "there is no such file"
    (tmp_path / "l.csv").write_bytes(b"Yb171Di\0\n1\n")
    assert "not a text file" in load_spillover(tmp_path / "l.csv")[1][0].what
    with pytest.raises(ParameterError, match=r"shape is \(2, 2\), but 3 channels"):
        Spillover(NAMES, np.eye(2))
    with pytest.raises(ParameterError, match="no channels"):
        Spillover((), np.empty((0, 0)))


def test_frozen() -> None:
    given = MATRIX.copy()
    spill = Spillover(NAMES, given)
    given[0, 1] = 0.5
    assert spill.matrix[0, 1] == 0.04
    with pytest.raises(ValueError, match="read-only"):
        spill.matrix[0, 1] = 0.5
    with pytest.raises(AttributeError):
        spill.channels = ()  # type: ignore[misc]  # what must fail
    assert len({spill, Spillover(NAMES, MATRIX), Spillover(NAMES, np.eye(3))}) == 2


def test_adapt_keeps_what_both_have_and_tells_every_gap() -> None:
    spill = Spillover(("Yb171Di", "Yb172Di", "Nd146Di"), [[1, 0.04, 0], [np.nan] * 3, [0, 0, 1]])
    other, notes = spill.adapt(["172Yb", "(Yb171)Dd", "Dy162Di", "Y89Di", "146Nd"])
    assert other.channels == ("Yb172Di", "Yb171Di", "Dy162Di", "Y89Di", "Nd146Di")
    expected = np.eye(5)
    expected[1, 0] = 0.04
    np.testing.assert_array_equal(other.matrix, expected)
    assert other.measured == (False, True, False, False, True)
    assert notes == [
        "Yb172Di into Yb171Di (mass -1): Yb172Di was not measured, taken as 0",
        "Nd146Di into Dy162Di (oxide, mass +16): Dy162Di is not in the matrix, taken as 0",
    ]
    same, none = Spillover(NAMES, MATRIX).adapt(NAMES)
    assert same == Spillover(NAMES, MATRIX)
    assert none == []
    with pytest.raises(ParameterError, match="'CD3' is not a mass channel"):
        spill.adapt(["CD3"])


@pytest.mark.parametrize(
    ("emitter", "receiver", "kind"),
    [
        (("Nd", 146), ("Dy", 162), "oxide, mass +16"),
        (("Dy", 162), ("Nd", 146), ""),
        (("Gd", 158), ("Tb", 159), "mass +1"),
        (("Tb", 159), ("Gd", 158), "mass -1"),
        (("Nd", 150), ("Nd", 142), "isotopic impurity"),
        (("Sm", 152), ("Nd", 150), ""),
        (("Y", 89), ("Y", 89), ""),
        (("BCKG", 190), ("BCKG", 195), ""),
    ],
)
def test_interactions(emitter: tuple[str, int], receiver: tuple[str, int], kind: str) -> None:
    assert interaction(Isotope(*emitter), Isotope(*receiver)) == kind


def test_trimmed_mean_against_scipy() -> None:
    from scipy.stats import trim_mean

    rng = np.random.default_rng(0)
    for n in (1, 2, 9, 10, 11, 500):
        values = rng.exponential(3, n)
        assert trimmed_mean(values) == pytest.approx(trim_mean(values, 0.1))
    assert trimmed_mean(np.empty(0)) == 0


CHANNELS = ("Nd146Di", "Dy162Di", "Dy163Di", "Y89Di")
TRUE = np.array([[1, 0.02, 0, 0], [0, 1, 0.04, 0], [0, 0.01, 1, 0], [0, 0, 0, 1.0]])


def beads(n: int = 400, seed: int = 0, stains: tuple[str, ...] = CHANNELS) -> anndata.AnnData:
    """Return single stains by an independent, plain simulation, with a background of 2 counts."""
    rng = np.random.default_rng(seed)
    rows, names = [], []
    for name in stains:
        signal = np.zeros((n, 4))
        signal[:, CHANNELS.index(name)] = rng.normal(3000, 300, n)
        rows.append(rng.poisson(signal @ TRUE + 2.0))
        names += [name] * n
    var = pd.DataFrame({"channel": list(CHANNELS)}, index=["CD8a", "Ki67", "CD56", "CD45"])
    adata = anndata.AnnData(np.concatenate(rows).astype(np.float32), var=var)
    adata.obs["stain"] = names
    adata.uns["cytocar"] = {"state": "counts"}
    return adata


def test_estimate_of_pooled_stains() -> None:
    spill = cc.pp.estimate_spillover(beads())
    # Four standard errors of the median of 400 beads with 60 and 120 received ions.
    np.testing.assert_allclose(spill.matrix, TRUE, atol=7e-4)
    assert spill.measured == (True,) * 4
    assert spill.notes == ()


def test_estimate_is_the_median_ratio() -> None:
    adata = beads(seed=1)
    spill = cc.pp.estimate_spillover(adata)
    x, stain = adata.X.astype(float), adata.obs["stain"].to_numpy()

    def background(channel: int, negatives: list[str]) -> float:
        values = np.sort(x[np.isin(stain, negatives), channel])
        cut = len(values) // 10
        return values[cut : len(values) - cut].mean()

    own = x[stain == "Nd146Di"]
    above = own[:, 0] - background(0, ["Dy162Di", "Dy163Di", "Y89Di"])
    received = np.maximum(own[:, 1] - background(1, ["Y89Di"]), 0)
    assert spill.matrix[0, 1] == pytest.approx(np.median(received / above), rel=1e-6)


def test_estimate_leaves_out_doublets_and_unstained_beads() -> None:
    adata = beads()
    counts = adata.X.copy()
    counts[:150] = np.random.default_rng(0).poisson(2, (150, 4))
    counts[150:200, 3] += 3000
    counts[150:200, 1] += 2000
    adata.X = counts
    adata.obs["stain"] = ["Nd146Di"] * 400 + list(adata.obs["stain"][400:])
    without = cc.pp.estimate_spillover(adata[200:].copy()).matrix
    np.testing.assert_allclose(cc.pp.estimate_spillover(adata).matrix, without, atol=5e-5)


def test_what_was_not_measured_is_said() -> None:
    adata = beads(stains=CHANNELS[:3])
    adata.obs["stain"] = ["CD8"] * 400 + ["162Dy"] * 400 + ["Dy163Di"] * 400
    adata = adata[np.r_[:420, 800:1200]].copy()
    spill = cc.pp.estimate_spillover(adata)
    assert spill.measured == (True, False, True, False)
    assert "Dy162Di: 20 of 20 events are positive for it alone, fewer than 50" in spill.notes[0]
    assert spill.notes[1] == "not stained, so not measured: Y89Di"
    assert cc.pp.estimate_spillover(adata, min_events=20).measured == (True, True, True, False)
    dim = beads()
    dim.obs["stain"] = ["Nd146Di"] * 400 + ["Y89Di"] * 400 + [""] * 800
    assert any(
        "Y89Di: its events are not clearly above" in note for note in cc.pp.estimate_spillover(dim).notes
    )


def test_estimate_of_tubes_and_folder(tmp_path: Path) -> None:
    from cytocar.io._fcs.write import write_events

    pooled = beads(seed=2)
    tubes = []
    for name in CHANNELS:
        tube = pooled[pooled.obs["stain"] == name].copy()
        del tube.obs["stain"]
        tubes.append(tube)
        file = {"Dy162Di": "beads_MKI67.fcs", "Dy163Di": "tube 3.FCS"}.get(
            name, f"{name[-5:-2]}{name[:-5]}_x.fcs"
        )
        pairs = [(c, f"{c[-5:-2]}{c[:-5]}_{m}") for c, m in zip(CHANNELS, pooled.var_names, strict=True)]
        write_events(tmp_path / file, tube.X, pairs)
    expected = cc.pp.estimate_spillover(pooled)
    from_tubes = cc.pp.estimate_spillover(tubes)
    np.testing.assert_array_equal(from_tubes.matrix, expected.matrix)
    assert len(from_tubes.notes) == 4
    assert "its brightest channel" in from_tubes.notes[0]
    from_folder = cc.pp.estimate_spillover(tmp_path)
    np.testing.assert_allclose(from_folder.adapt(CHANNELS)[0].matrix, expected.matrix)
    assert from_folder.notes == ("tube 3.FCS: its brightest channel Dy163Di is taken as the stain",)
    counts = tmp_path / "out"
    write_events(tmp_path / "cells.fcs", beads(3).X, [(c, "") for c in CHANNELS])
    (tmp_path / "only").mkdir()
    (tmp_path / "cells.fcs").rename(tmp_path / "only" / "cells.fcs")
    assert len(cc.pp.compensate_files(tmp_path / "only" / "cells.fcs", tmp_path, counts)) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cc.pp.estimate_spillover([]), "no single stains"),
        (lambda: cc.pp.estimate_spillover(beads(), min_events=0), "min_events is 0"),
        (lambda: cc.pp.estimate_spillover(beads()[:0]), "no events"),
        (
            lambda: cc.pp.estimate_spillover([beads(), beads()[:, :3].copy()]),
            "tube 1 .*differ in the channels Y89",
        ),
        (lambda: cc.pp.estimate_spillover("nowhere"), "nowhere is not a folder"),
        (lambda: cc.pp.estimate_spillover(beads(10)), "no channel could be measured: Nd146Di: 10 of 10"),
    ],
)
def test_estimate_arguments(make: Callable[[], Spillover], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make()


def test_estimate_refuses_unknown_stains_and_arcsinh() -> None:
    adata = beads()
    adata.obs["stain"] = "CD19"
    with pytest.raises(ParameterError, match="'CD19', which is not a channel"):
        cc.pp.estimate_spillover(adata)
    cc.pp.arcsinh(adata, cofactor=5)
    with pytest.raises(StateError, match="needs counts"):
        cc.pp.estimate_spillover(adata)


def test_car_audit_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    channels = ["Er168Di", "Tm169Di", "Er170Di", "Y89Di"]
    matrix = np.eye(4)
    matrix[0, 1], matrix[2, 1] = 0.02, 0.01
    spill = Spillover(tuple(channels), matrix)
    true = rng.lognormal(6, 1, (500, 4)) * (rng.random((500, 4)) < 0.5)
    seen = true @ matrix
    among = rng.random(500) < 0.8
    table = cc.pp.car_audit(
        seen, true, 1.0, spillover=spill, channels=channels, car="169Tm", among=among, sample_id="s"
    ).set_index("source")
    limit = 5 * np.sinh(1.0)
    rows = [(s, t) for s, t, a in zip(seen, true, among, strict=True) if a]
    explained = [(s, t) for s, t in rows if s[1] >= limit > t[1]]
    both = table.loc["all"]
    assert both["n_before"] == sum(s[1] >= limit for s, _ in rows)
    assert both["n_after"] == sum(t[1] >= limit for _, t in rows)
    assert both["n_explained"] == len(explained) == both["n_before"] - both["n_after"] + both["n_gained"]
    assert len(explained) > 20
    assert table.loc["Er168Di", "n_main"] == sum(0.02 * t[0] >= 0.01 * t[2] for _, t in explained)
    assert table.loc["Er170Di", "expected_counts"] == pytest.approx(np.mean([0.01 * t[2] for _, t in rows]))
    received = [0.02 * t[0] + 0.01 * t[2] for _, t in explained]
    assert both["expected_counts_explained"] == pytest.approx(np.median(received))
    assert both["threshold_counts"] == pytest.approx(limit)
    assert list(table.index) == ["all", "Er168Di", "Er170Di"]
    assert set(table["sample_id"]) == {"s"}


def test_car_audit_limits_and_arguments() -> None:
    channels = ["Er170Di", "Tm169Di"]
    counts = np.array([[10.0, 100.0]])
    spill = Spillover(("Er170Di",), [[1]])
    alone = cc.pp.car_audit(counts, counts, 2.0, spillover=spill, channels=channels, car="Tm169Di")
    assert alone[["source", "n_before", "n_explained"]].values.tolist() == [["all", 1, 0]]
    # At the threshold is positive, as in a gate.
    at = cc.pp.car_audit(counts, counts, np.arcsinh(20.0), spillover=spill, channels=channels, car="Tm169Di")
    assert at["n_before"].tolist() == [1]
    none = cc.pp.car_audit(counts[:0], counts[:0], 2.0, spillover=spill, channels=channels, car="Tm169Di")
    assert none["n_before"].tolist() == [0]
    assert np.isnan(none["expected_counts"]).all()
    for changes, words in (
        ({"car": "Y89Di"}, "'Y89Di' is not there"),
        ({"after": counts[:, :1]}, r"after is \(1, 1\)"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"cofactor": 0.0}, "cofactor is 0"),
        ({"among": np.array([1])}, "among is int64"),
    ):
        arguments = {
            "before": counts,
            "after": counts,
            "threshold": 2.0,
            "spillover": spill,
            "channels": channels,
        }
        with pytest.raises(ParameterError, match=words):
            cc.pp.car_audit(**(arguments | {"car": "Tm169Di"} | changes))


FORMS = {
    "plain": ",Yb171Di,Yb172Di\nYb171Di,1,0.04\nYb172Di,0.012,1\n",
    "decimal comma": ";Yb171Di;Yb172Di\nYb171Di;1;0,04\nYb172Di;1,2E-02;1,0\n",
    "tab and comma": "\tYb171Di\tYb172Di\nYb171Di\t1\t0,04\nYb172Di\t0,012\t1\n",
    "comma in quotes": ',Yb171Di,Yb172Di\nYb171Di,1,"0,04"\nYb172Di,"0,012",1\n',
    "R": '"","X171Yb","X172Yb"\n"171Yb",1,0.04\n"172Yb",0.012,1\n',
    "R with labels": "X171Yb_CD3,X172Yb_CD4\n171Yb_CD3,1,0.04\n172Yb_CD4,0.012,1\n",
    "R with points": "CD3.Yb171.Di,X.Yb172.Di\nCD3.Yb171.Di,1,0.04\nX.Yb172.Di,0.012,1\n",
    "empty columns": ",Yb171Di,Yb172Di,,\nYb171Di,1,0.04,,\nYb172Di,0.012,1,,\n,,,,\n",
    "empty columns, no names": "Yb171Di,Yb172Di,,\n1,0.04,,\n0.012,1,,\n,,,\n",
    "R, write.table": '"Yb171Di" "Yb172Di"\n"Yb171Di" 1 0.04\n"Yb172Di" 0.012 1\n',
    "blanks": "          Yb171Di   Yb172Di\nYb171Di   1         0.04\nYb172Di   0.012     1\n",
    "sep": "sep=;\n;Yb171Di;Yb172Di\nYb171Di;1;0,04\nYb172Di;0,012;1\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_matrix(form: str, tmp_path: Path) -> None:
    path = tmp_path / "spill.csv"
    for encoding, end in (("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-8", "\r")):
        path.write_bytes(FORMS[form].replace("\n", end).encode(encoding))
        spill = cc.pp.read_spillover(path)
        assert spill.channels == ("Yb171Di", "Yb172Di")
        np.testing.assert_array_equal(spill.matrix, [[1, 0.04], [0.012, 1]])


@pytest.mark.parametrize("cell", ["1.2%", "1_0", "0,0,1", "1.000,5", "x"])
def test_numbers_that_could_mean_two_things_are_refused(cell: str, tmp_path: Path) -> None:
    _, problems = load_spillover(written(tmp_path, f";Yb171Di;Yb172Di\nYb171Di;1;{cell}\nYb172Di;0;1\n"))
    assert [problem.what for problem in problems] == [f"{cell!r} is not a number"]
    assert "line 2" in problems[0].where
