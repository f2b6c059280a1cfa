from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cytocar._core.errors import Problem
from cytocar.io import StudyConfig
from cytocar.io._study.config import load_config

SMALLEST = "cytocar: 1\npanel: panel.csv\nsamples: samples.csv\n"


def load(folder: Path, text: str) -> StudyConfig:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    config, problems = load_config(path)
    assert not problems
    assert config is not None
    return config


def problems_of(folder: Path, text: str | bytes) -> list[Problem]:
    path = folder / "study.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    config, problems = load_config(path)
    assert config is None
    assert problems
    assert all(problem.where.startswith(str(path)) for problem in problems)
    return problems


def test_the_smallest_file_has_all_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALLEST)
    assert config.model_dump() == {
        "cytocar": 1,
        "panel": "panel.csv",
        "samples": "samples.csv",
        "beads": "auto",
        "baseline": "",
        "compensation": "off",
        "cofactor": 5.0,
        "gating": "car_t",
        "thresholds": {},
        "clustering": {
            "method": "both", "k": "auto", "metaclusters": "auto", "markers": "clustering",
            "stability": True, "names": "", "reference": "",
        },
        "embedding": "tsne",
        "on_missing": "refuse",
        "compare": {"reference": None, "against": None, "margin": 0.2, "p_values": False},
        "cohort": {"formula": "auto", "contrast": "auto"},
        "host_sample": 10_000,
        "clean": "auto",
        "time_quality": "mark",
        "seed": 0,
        "title": "",
    }  # fmt: skip
    with pytest.raises(ValidationError):
        config.seed = 3  # type: ignore[misc]  # frozen, which is what is tested


def test_words_stay_words_and_numbers_become_names_where_names_are_due(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        SMALLEST + "gating: off\nbeads: off\nembedding: off\nclean: off\ncompensation: off\n"
        "compare: {reference: 2, against: 5yr, margin: 1e-1}\ncofactor: 1e1\ntitle: 2024\n"
        "thresholds: {CD3: 2, VHH: {1: 3.5, s2: 4}}\nclustering: {markers: [Ki67, 2B4], k: 0015}\n",
    )
    assert (config.gating, config.beads, config.embedding, config.clean) == ("off",) * 4
    assert (config.compare.reference, config.compare.against, config.compare.margin) == ("2", "5yr", 0.1)
    assert config.cofactor == 10.0
    assert config.title == "2024"
    assert config.thresholds == {"CD3": 2.0, "VHH": {"1": 3.5, "s2": 4.0}}
    assert config.clustering.k == 15


def test_a_formula_names_the_columns_that_it_needs(tmp_path: Path) -> None:
    config = load(tmp_path, SMALLEST + "cohort: {formula: ~ group*age + 0, contrast: [R vs NR]}\n")
    assert config.cohort.columns == ["group", "age"]
    assert config.cohort.contrast == ["R vs NR"]


def test_a_setting_without_a_value_is_its_default(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST + "gating:\nclustering:\n") == load(tmp_path, SMALLEST)


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("cofacter: 5", "setting 'cofacter' is not known", "did you mean 'cofactor'?"),
        ("cofactor: 0", "cofactor is 0", "above 0"),
        ("cofactor: yes", "cofactor is 'yes'", "above 0"),
        ("cofactor: true", "cofactor is true", "above 0"),
        ("title: [a]", "title is [a]", "give a text"),
        ("cofactor: .inf", "cofactor is inf", "above 0"),
        ("embedding: tnse", "embedding is 'tnse'", "did you mean 'tsne'?"),
        ("beads: on", "beads is 'on'", "auto, off, or a list"),
        ("beads: []", "beads is []", "auto, off, or a list"),
        ("clean: maybe", "clean is 'maybe'", "known: auto, off"),
        ("seed: -1", "seed is -1", "whole number"),
        ("seed: 1.5", "seed is 1.5", "whole number"),
        ("host_sample: many", "host_sample is 'many'", "whole number"),
        ("compensation: 3", "compensation is 3", "such as spill.csv, or off"),
        ("time_quality: drop", "time_quality is 'drop'", "known: mark, remove, off"),
        ("clustering: both", "clustering is 'both'", "{method: both"),
        ("clustering: {methd: both}", "setting 'methd' is not known", "did you mean 'method'?"),
        ("clustering: {method: flowsm}", "clustering.method is 'flowsm'", "did you mean 'flowsom'?"),
        ("clustering: {k: 1}", "clustering.k is 1", "at least 2, or auto"),
        ("clustering: {metaclusters: 2.5}", "clustering.metaclusters is 2.5", "at least 2, or auto"),
        ("clustering: {markers: CD3}", "clustering.markers is 'CD3'", "list of at least two markers"),
        (
            "clustering: {markers: [CD3, {a: 1}]}",
            "clustering.markers.1 is {a: 1}",
            "list of at least two markers",
        ),
        ("compare: {margin: -1}", "compare.margin is -1", "at least 0"),
        ("cohort: {formula: 5}", "cohort.formula is 5", "'~ group + batch'"),
        ("cohort: {contrast: []}", "cohort.contrast is []", "such as R vs NR"),
        ("compare: {p_values: 1}", "compare.p_values is 1", "true or false"),
        ("compare: {refrence: 2mo}", "setting 'refrence' is not known", "did you mean 'reference'?"),
        ("thresholds: {CD3: high}", "thresholds.CD3 is 'high'", "a number by name"),
        ("thresholds: {CD3: {s1: .nan}}", "thresholds.CD3.s1 is nan", "a number by name"),
    ],
)
def test_each_wrong_setting_is_named_with_its_line(line: str, what: str, fix: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"{SMALLEST}{line}\n")
    assert problem.what == what
    assert fix in problem.fix
    assert ", line 4" in problem.where


def test_all_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems_of(tmp_path, "cytocar: 2\npanle: p\nseed: x\nclustering:\n  k: 1\n  foo: 2\n")
    assert [(problem.where.split("study.yaml")[1], problem.what) for problem in found] == [
        (", line 1", "the format is 2"),
        ("", "setting 'panel' is missing"),
        ("", "setting 'samples' is missing"),
        (", line 2", "setting 'panle' is not known"),
        (", line 3", "seed is 'x'"),
        (", line 5 (clustering.k)", "clustering.k is 1"),
        (", line 6 (clustering.foo)", "setting 'foo' is not known"),
    ]


@pytest.mark.parametrize("version", ["'1'", "true", "1.0", "[1]", "0"])
def test_the_version_is_the_number_1(version: str, tmp_path: Path) -> None:
    found = problems_of(tmp_path, SMALLEST.replace("cytocar: 1", f"cytocar: {version}"))
    assert "the format is" in found[0].what
    assert "write 'cytocar: 1'" in found[0].fix


def test_a_newer_format_asks_for_a_newer_cytocar(tmp_path: Path) -> None:
    assert "newer cytocar" in problems_of(tmp_path, SMALLEST.replace("1", "2"))[0].fix
    assert problems_of(tmp_path, "panel: p\nsamples: s\n")[0].what == "setting 'cytocar' is missing"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (SMALLEST + "beads: [a, b\n", ", line 5, column 1", "is not YAML: expected ',' or ']'"),
        (SMALLEST + "title: a: b\n", ", line 4, column 9", "is not YAML: mapping values are not allowed"),
        (SMALLEST + "\ttitle: x\n", ", line 4, column 1", "is not YAML"),
        (
            SMALLEST + "title: !!python/object:os.system x\n",
            ", line 4, column 8",
            "title has the tag !!python/object:os.system",
        ),
        (SMALLEST + "panel: q\n", ", line 4, column 1", "'panel' is also given on line 2"),
        (SMALLEST + "clustering: {k: 3, k: 4}\n", ", line 4, column 20", "'k' is also given on line 4"),
        (
            SMALLEST + "beads: &x [a]\nclustering: {markers: *x}\n",
            ", line 5",
            "clustering.markers is an alias",
        ),
        ("a: &x [*x]\n", ", line 1", "a.0 is an alias"),
        ("- a\n- b\n", ", line 1", "holds no settings"),
        ("[a]: 1\n", ", line 1", "a key is not a plain word"),
        ("", "", "is empty"),
        ("# only a remark\n", "", "is empty"),
        ("a: 1\n---\nb: 2\n", ", line 2, column 1", "is not YAML"),
        (b"\xff\xfe\x00", "", "is not UTF-8 text"),
        ("title: \x07\n", ", line 1", "is not YAML: the character U+0007 is not allowed"),
    ],
)
def test_what_is_no_settings_file(text: str | bytes, where: str, what: str, tmp_path: Path) -> None:
    problem = problems_of(tmp_path, text)[0]
    assert problem.where == f"{tmp_path / 'study.yaml'}{where}"
    assert what in problem.what


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + SMALLEST).panel == "panel.csv"


def test_no_file(tmp_path: Path) -> None:
    config, (problem,) = load_config(tmp_path / "study.yaml")
    assert config is None
    assert problem.what == "there is no such file"


def test_who_writes_clustering_off_is_told_how(tmp_path: Path) -> None:
    problem = problems_of(tmp_path, SMALLEST + "clustering: off\n")[0]
    assert problem.what == "clustering is 'off'"
    assert problem.fix.endswith("or {method: off}")
