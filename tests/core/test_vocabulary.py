from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cytocar
from cytocar._core import keys, vocabulary

SOURCE = Path(cytocar.__file__).parent
WORDS = {keys.SAMPLE, keys.PATIENT, vocabulary.NOT_DETECTED}


def words_written_out(source: str) -> Iterator[tuple[int, str]]:
    """Find words of the vocabulary that stand as texts in code; docstrings are no code."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in WORDS and id(node) not in prose:
            yield node.lineno, str(node.value)


def test_words_of_the_vocabulary_are_written_in_one_place() -> None:
    written = {
        str(path.relative_to(SOURCE)): list(words_written_out(path.read_text(encoding="utf-8")))
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "_core"
    }
    assert {name: words for name, words in written.items() if words} == {}


def test_a_word_written_out_is_found() -> None:
    assert list(words_written_out('"""sample_id"""\ntable["sample_id"]\nf"{row[\'patient_id\']}"\n')) == [
        (2, "sample_id"),
        (3, "patient_id"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        vocabulary.ROLES,
        vocabulary.DETECTION_CALLS,
        vocabulary.MARKER_CALLS,
        vocabulary.EVENT_CLASSES,
        vocabulary.METHODS,
    ],
)
def test_no_word_has_two_meanings_within_a_list(words: tuple[str, ...]) -> None:
    assert len(set(words)) == len(words)
    assert not set(words) & {"", vocabulary.NO_CLUSTER}
