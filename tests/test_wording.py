"""The words of the field: what users read in help, messages, reports and pages is written as the field writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# CONTRIBUTING.md holds the same list for people, with what to write in place of each.
NOT_WRITTEN = {
    r"\ban? (?:row|file|column|panel|number|line|colour) an? "
    r"(?:row|file|sample|column|panel|patient|marker|timepoint|person|cluster|observation|channel|threshold|gate|tube"
    r"|population|subset|event)\b": "one row per sample",
    r"\b(?:is|are|were|was) due\b": "expected",
    r"(?<!there )(?<!There )(?<!where )\bis no "
    r"(?:gate|sample|column|channel|marker|table|threshold|population|panel|file|number)\b": "is not a gate",
    r"\black(?:s|ed)? the columns?\b": "is missing columns",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bcannot be told\b(?! apart)": "cannot be determined",
    r"\bheld against\b": "compared with",
    r"\bput on(?:to)? (?:a|the|an earlier) (?:reference|run)\b": "mapped to a reference",
    r"\bwhat is odd\b": "unusual features",
    r"\bPart a\b": "Split a barcoded FCS file",
    r"\bPatients against patients\b": "Comparison between patients",
    r"\bWhat the clean-up took\b": "Events removed by clean-up",
    r"\bRead this with the numbers\b": "Caveats",
    r"\bbatch parts\b": "Clusters separate by batch",
}
FOLDERS = (
    ("src/cytocar", (".py", ".j2", ".yaml", ".csv")),
    ("docs", (".md",)),
    ("workflows", (".py", ".yaml", ".md")),
    ("panels", (".csv",)),
    ("benchmarks", (".py",)),
)
FILES = [
    *(
        path
        for folder, endings in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in endings and "_build" not in path.parts
    ),
    ROOT / "README.md",
    ROOT / "SECURITY.md",
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_those_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # Sentences go on in the next line, also in comments and in strings that stand below each other.
    joined = re.sub(r"[\s\"'#]*\n[\s\"'#f]*", " ", text)
    wrong = [
        f"{match[0]!r} (write: {instead})"
        for pattern, instead in NOT_WRITTEN.items()
        for match in re.finditer(pattern, joined)
    ]
    assert not wrong, f"{path.relative_to(ROOT)}: " + "; ".join(wrong)


@pytest.mark.parametrize(
    "sentence",
    [
        "one line a sample, a row a patient",
        "a list of files is due",
        "'CD3' is no gate",
        "panel.csv lacks the columns channel, marker",
        "mend the sheet",
        "whether it helps cannot be told",
    ],
)
def test_the_list_finds_what_it_is_for(sentence: str) -> None:
    assert any(re.search(pattern, sentence) for pattern in NOT_WRITTEN)


def test_the_list_for_people_holds_every_rule() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [instead for instead in NOT_WRITTEN.values() if instead not in page]
    assert not missing
