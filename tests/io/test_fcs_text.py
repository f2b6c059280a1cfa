"""TEXT: pairs, doubled delimiters, empty values, encodings, padding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytocar import FcsError
from cytocar.io._fcs.text import format_text, parse_text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/A/1/B/2/", {"A": "1", "B": "2"}),
        (b"|A|1|b|2|", {"A": "1", "B": "2"}),
        # a doubled delimiter in a value is one delimiter
        (b"/A/x//y/B/2/", {"A": "x/y", "B": "2"}),
        (b"/A/x////y/B/2/", {"A": "x//y", "B": "2"}),
        (b"/A/GFP//FITC-A/B/2/", {"A": "GFP/FITC-A", "B": "2"}),
        # at the end and at the start of a value
        (b"/A/x///B/2/", {"A": "x/", "B": "2"}),
        (b"/A///x/B/2/", {"A": "/x", "B": "2"}),
        # directly after a keyword it is an empty value
        (b"/A//B/2/", {"A": "", "B": "2"}),
        (b"/A//B//C/3/", {"A": "", "B": "", "C": "3"}),
        (b"/A/1/B//", {"A": "1", "B": ""}),
        (b"/A/ /B/2/", {"A": "", "B": "2"}),
        # a value that is one delimiter
        (b"/A////B/2/", {"A": "/", "B": "2"}),
        # dollars inside values stay; FlowIO drops them
        (b"/$A/cost $5 in $USD/", {"$A": "cost $5 in $USD"}),
        (b"\x0c$TOT\x0c20000   \x0c", {"$TOT": "20000   "}),
        # padding after the last delimiter
        (b"/A/1/      ", {"A": "1"}),
        (b"/A/1/\x00\x00\r\n", {"A": "1"}),
        (b"", {}),
    ],
)
def test_pairs(raw: bytes, expected: dict[str, str]) -> None:
    keywords, tolerances = parse_text(raw)
    assert keywords == expected
    assert tolerances == []


def test_utf8_and_latin1() -> None:
    keywords, tolerances = parse_text("/A/Fluor™/B/2/".encode())
    assert keywords["A"] == "Fluor™"
    assert tolerances == []
    keywords, tolerances = parse_text("/A/Fluor™/".encode() + "B/Köln/".encode("latin-1"))
    assert keywords == {"A": "Fluor™", "B": "Köln"}
    assert tolerances == ["TEXT is not UTF-8 in B: read as Latin-1"]


def test_unterminated_text_is_told() -> None:
    keywords, tolerances = parse_text(b"/A/1/GROUP/2020 \n")
    assert keywords == {"A": "1", "GROUP": "2020"}
    assert tolerances == ["TEXT does not end with its delimiter; the value of GROUP ends with the segment"]


def test_bytes_after_the_end_are_told() -> None:
    keywords, tolerances = parse_text(b"/A/1/  \x41\x94")
    assert keywords == {"A": "1"}
    assert tolerances == ["4 bytes after the last delimiter of TEXT were ignored"]


def test_repeated_keyword_takes_the_last_and_is_told() -> None:
    keywords, tolerances = parse_text(b"/A/1/A/2/B/3/B/3/")
    assert keywords == {"A": "2", "B": "3"}
    assert tolerances == ["TEXT has A more than once with different values: the last was taken"]


_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
# Keywords are compared in upper case and without blanks around them.
_key = _text.map(lambda key: key.strip().upper()).filter(lambda key: key and key == key.strip().upper())
# A value of blanks only reads as empty.
_value = _text.filter(lambda value: not value or value.strip(" "))


@given(st.dictionaries(_key, _value, max_size=8))
def test_what_was_formatted_parses_as_it_was(keywords: dict[str, str]) -> None:
    found, tolerances = parse_text(format_text(keywords)) if keywords else ({}, [])
    assert found == keywords
    assert tolerances == []


def test_delimiter_occurs_nowhere_in_the_text() -> None:
    raw = format_text({"A|": "\\", "B": "/!"})
    assert raw[:1] == b"\x0c"
    assert raw.count(b"\x0c") == 5


def test_empty_values_are_written_as_a_blank() -> None:
    # The standard has no empty values: strict readers would take two delimiters for one in the keyword.
    assert format_text({"A": "", "B": "1"}) == b"|A| |B|1|"


def test_text_that_uses_every_character_is_refused() -> None:
    with pytest.raises(FcsError, match="every character that could separate"):
        format_text({"A": "".join(chr(code) for code in range(1, 127))})
