"""YAML that is written by hand, and written for people to edit."""

from __future__ import annotations

import pytest
import yaml

from cytocar._core.yaml import flow, parse_yaml


@pytest.mark.parametrize(
    "text", ["\x85", "a\x85b", "\u2028", "x\u2029", "\n", "a\r\nb", "a\n", " ", "", "\ufeff"]
)
def test_every_line_break_of_unicode_comes_back_as_it_was(text: str) -> None:
    written = flow({text: [text]})
    assert len(written.splitlines()) == 1
    document, problems = parse_yaml(f"names: {written}\n", start="names")
    assert not problems
    assert document is not None
    assert document.content["names"] == {text: [text]}
    assert yaml.safe_load(written) == {text: [text]}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("!!timestamp never", "a.b has the tag !!timestamp"),
        ("!!bool maybe", "a.b has the tag !!bool"),
        ("!!map [c]", "a.b has the tag !!map"),
        ("!!set {c}", "a.b has the tag !!set"),
        ("!!binary aGVsbG8=", "a.b has the tag !!binary"),
        ("!!float three", "a.b has the tag !!float"),
        ("!mine 3", "a.b has the tag !mine"),
        ("9" * 400, "a.b is a number of 400 digits"),
        ("-" + "9" * 5000, "a.b is a number of 5,000 digits"),
    ],
)
def test_values_that_no_setting_may_have_are_named_with_their_place(value: str, what: str) -> None:
    document, problems = parse_yaml(f"a:\n  b: {value}\n", start="names")
    assert document is None
    assert [(problem.where, problem.what) for problem in problems] == [("line 2, column 6", what)]


def test_a_mapping_with_a_tag_at_the_top_is_a_problem() -> None:
    document, problems = parse_yaml("!!set {a, b}", start="names")
    assert document is None
    assert problems[0].what == "the text has the tag !!set"


def test_a_text_may_be_tagged_as_a_text() -> None:
    document, problems = parse_yaml("a: !!str 01\nb: !!int 2\nc: '1'\n", start="names")
    assert not problems
    assert document is not None
    assert document.content == {"a": "01", "b": 2, "c": "1"}


def test_a_character_that_yaml_does_not_allow_is_named_with_its_line() -> None:
    document, problems = parse_yaml("a: 1\nb: x\0y\n", start="names")
    assert document is None
    assert [str(problem) for problem in problems] == [
        "line 2: is not YAML: the character U+0000 is not allowed\n    remove it"
    ]
