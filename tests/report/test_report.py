"""The report: self-contained, true to its tables, safe with any name, and drawn again without computing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from cytocar import StudyError, report
from cytocar._core import tables as tables_of
from cytocar.report._answer import answer
from cytocar.report._build import CHAPTERS, FIGURES
from cytocar.report._format import percent
from cytocar.report._load import load


class Page(HTMLParser):
    """What a page holds: its tags with attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(finished: Path) -> Page:
    return Page((finished / "report.html").read_text(encoding="utf-8"))


def test_the_page_needs_no_other_file_and_no_script(page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        for name in ("src", "href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), target
    policy = [a for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy[0]["content"])


def test_every_picture_has_words_for_those_who_cannot_see_it(page):
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) >= 11
    assert all(attributes["alt"] for attributes in pictures)


def test_the_answer_comes_first_and_agrees_with_the_tables(finished, page):
    frequency = tables_of.read(finished / "tables", "car_frequency")
    last = frequency.sort_values("months").iloc[-1]
    first_words = page.text[: page.text.index("How many CAR-T cells")]
    assert f"CAR-T cells were {percent(last['pct_of_cd45'])} %" in first_words
    assert f"{last['n_car']:,} of {last['n_cd45']:,} cells" in first_words
    for row in frequency.itertuples():
        assert f"{row.n_cd45:,}" in page.text
        assert f"{percent(row.pct_of_cd45)} ({percent(row.pct_low)} to {percent(row.pct_high)})" in page.text


def test_false_positives_are_set_against_the_small_subsets(finished, page):
    subsets = tables_of.read(finished / "tables", "subsets")
    assert subsets["background_n"].notna().any()
    assert "may be false" in page.text


def test_hashes_settings_and_versions_are_in_the_record(finished, page):
    for row in load(finished).provenance["inputs"]:
        assert row["sha256"] in page.text
    for word in ("host_sample", "anndata", "Gating strategy", "seed 0"):
        assert word in page.text


def test_settings_stand_as_study_yaml_has_them(page):
    for words in (": None", ": True", ": False", "{'"):
        assert words not in page.text
    assert "margin: 0.2, p_values: false" in page.text


HOSTILE = "<script>alert('x')</script>&<img src=x onerror=alert(1)>"


def test_names_from_files_are_escaped(finished, tmp_path, monkeypatch):
    # two figures stand for all: their pixels hold no markup, and their titles come to the page by one way
    some = tuple(figure for figure in FIGURES if figure.stem in ("subsets", "quality"))
    monkeypatch.setitem(report.build.__globals__, "FIGURES", some)
    out = Path(shutil.copytree(finished, tmp_path / "results"))
    for path in (out / "tables").glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in ("sample_id", "marker", "note", "population"):
            if column in table:
                table[column] = table[column].replace({"P1_5yr": HOSTILE, "GZMB": HOSTILE, "CD11b-": HOSTILE})
        table.to_csv(path, index=False)
    provenance = (out / "provenance.json").read_text(encoding="utf-8")
    (out / "provenance.json").write_text(
        provenance.replace('"P1_5yr.fcs"', '"<script>f</script>"'), encoding="utf-8"
    )
    report.build(out)
    hostile = Page((out / "report.html").read_text(encoding="utf-8"))
    assert not [tag for tag, attributes in hostile.tags if tag == "script" or "onerror" in attributes]
    assert HOSTILE in hostile.text
    assert len([tag for tag, _ in hostile.tags if tag == "img"]) == len(some) == 2


def test_drawing_again_gives_the_same_bytes_and_touches_no_result(finished, tmp_path):
    out = Path(shutil.copytree(finished, tmp_path / "results"))
    shutil.rmtree(out / "figures")
    (out / "report.html").unlink()
    report.build(out)
    for path in sorted(finished.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (out / path.relative_to(finished)).read_bytes(), path.name


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"it lacks provenance\.json, cells\.h5ad, tables"):
        report.build(tmp_path)


def test_the_sentence_says_not_detected_with_the_limit(finished, tmp_path):
    out = Path(shutil.copytree(finished, tmp_path / "results"))
    path = out / "tables" / "car_frequency.csv"
    table = pd.read_csv(path)
    table.loc[table["timepoint"] == "5yr", ["call", "n_car"]] = ["not_detected", 3]
    table.to_csv(path, index=False)
    [sentence] = answer(load(out)).sentences
    assert "no CAR-T cells were detected: 3 events" in sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2396, "0.240"),
        (3.0096, "3.01"),
        (51.59, "51.6"),
        (0.0, "0"),
        (float("nan"), "not known"),
        (1e-4, "0.0001"),
    ],
)
def test_percentages_keep_what_matters(value, text):
    assert percent(value) == text


@pytest.mark.browser
def test_it_opens_in_a_browser_without_errors_or_requests(finished, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        if os.environ.get("CYTOCAR_REQUIRE_ALL"):
            pytest.fail("Chromium is needed here and is not installed")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    log = tmp_path / "net.json"
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--disable-quic",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
            "--window-size=1200,2000", f"--screenshot={shot}", (finished / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert shot.stat().st_size > 50_000
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    # What Chromium asks its maker for on its own is none of the page's.
    asked = set(
        re.findall(
            r'"url":"(?:https?|wss?|ftp)://([^/"]+)', log.read_text(encoding="utf-8", errors="replace")
        )
    )
    assert {host for host in asked if not re.search(r"(google|googleapis|gstatic|gvt1)\.com$", host)} == set()


def figures_on(folder: Path) -> list[str | None]:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    return [attributes.get("id") for tag, attributes in page.tags if tag == "figure"]


def test_every_figure_that_is_drawn_is_on_the_page_once(finished):
    drawn = {path.stem for path in (finished / "figures").glob("*.png")}
    stems = {figure.stem for figure in FIGURES} & drawn
    assert sorted(map(str, figures_on(finished))) == sorted(stems)


def test_a_figure_that_no_template_places_stands_at_the_end_of_its_chapter(finished, tmp_path, monkeypatch):
    placed = [figure for figure in CHAPTERS["gates"] if figure.stem == "thresholds"]
    more = [replace(figure, stem="not_in_a_template") for figure in placed]
    quality = [figure for figure in CHAPTERS["quality"] if figure.stem == "quality"]
    monkeypatch.setitem(CHAPTERS, "gates", (*more, *placed))
    monkeypatch.setitem(report.build.__globals__, "FIGURES", (*more, *placed, *quality))
    out = Path(shutil.copytree(finished, tmp_path / "results"))
    report.build(out)
    assert figures_on(out) == ["thresholds", "not_in_a_template", "quality"]
