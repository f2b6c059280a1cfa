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
