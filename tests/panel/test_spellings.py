"""Spellings of channels: whatever form a program writes, isotope and antigen come back."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar.panel import Panel
from cytocar.panel.names import ISOTOPES, Isotope, marker_name, parse_isotope

# {e} element, {m} mass, {a} antigen
FORMS = [
    "{e}{m}Di_{m}{e}_{a}",
    "{a} ({e}{m}Di)",
    "{a}_({e}{m}Di)",
    "{a}(({e}{m})Di)",
    "{a}({e}{m})Dd",
    "{a}-{m}({e}{m})Dd",
    "({e}{m})Di<{a}-{m} (v)>",
    "({e}{m})Di<{a}>",
    "{m}{e}_{a} <{e}{m}Di>",
    "{a}_{e}{m}",
    "{m}_{e}_{a}",
    "0{m}_{e}_{a}",
    "{m}{e}-{a}",
    "{m}{e} {a}",
    "{m}{e}.{a}",
    "X{m}{e}_{a}",
    "X{m}{e}.{a}",
    "{e}{m}Di___{m}{e}_{a}",
    "{e}{m}Di :: {m}{e}_{a}",
    "{e}{m}Di::{a}",
    "{a} [{e}{m}]",
    "{a}_{m}{e}",
    "{a}-{m}{e}",
    "{a}-{e}{m}Di",
    "{m}{e}_{a} (v)",
    "{m}{e}_{a} (v) (v2)",
    "{m}{e}_{a} v4",
    "{a}-APC({e}{m})Dd",
    "{e}({m}.0)Di_{a}",
    "{a}_{e}{m}_{a}_{e}{m}",
]
SMALL = ("Y", "I", "W")
METALS = sorted((e, m) for e, masses in ISOTOPES.items() for m in masses if 89 <= m <= 209 and e not in SMALL)
ANTIGENS = [
    "CD4",
    "CD45RA",
    "PD-1",
    "HLA-DR",
    "TCRgd",
    "CD197_CCR7",
    "Ki-67",
    "pSTAT3",
    "FoxP3",
    "VHH",
    "CD11b",
]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(metal=st.sampled_from(METALS), antigen=st.sampled_from(ANTIGENS))
def test_isotope_and_antigen_come_back_from_every_form(form: str, metal: tuple[str, int], antigen: str):
    text = form.format(e=metal[0], m=metal[1], a=antigen)
    assert parse_isotope(text) == Isotope(*metal), text
    assert marker_name(text) == antigen, text
    # The same in $PnS beside a plain $PnN.
    assert marker_name(f"{metal[0]}{metal[1]}Di", text) == antigen, text


@pytest.mark.parametrize(
    "nothing", ["", "_none", "_NA", "_FREE", "_-", "_(Te126Di)", "_nan", " ", "_?", "_no", "_unlabelled"]
)
def test_a_channel_that_is_said_to_be_empty_is_background(nothing: str):
    row = Panel.from_channels([("Te126Di", f"126Te{nothing}")]).frame.iloc[0]
    assert (row["marker"], row["role"], row["used_for_clustering"]) == ("126Te", "background", False)


def test_a_name_that_is_its_mass_is_no_antibody():
    row = Panel.from_channels([("129(Xe129)Dd", "")]).frame.iloc[0]
    assert (row["marker"], row["role"]) == ("129Xe", "background")


@pytest.mark.parametrize(
    "text",
    [
        "CD45",
        "CD116",
        "CD3",
        "TCR Vd2",
        "4-1BB",
        "2B4",
        "B220",
        "H3K27Ac",
        "IL-17A",
        "KIR2DL1",
        "Va7.2",
        "CD45.2",
    ],
)
def test_antigens_are_no_isotopes(text: str):
    assert parse_isotope(text) is None
    assert marker_name("Yb171Di", f"171Yb_{text}") == text


def test_a_secondary_antibody_keeps_its_dye():
    assert marker_name("Yb171Di", "171Yb_anti-PE") == "anti-PE"
    assert marker_name("Yb171Di", "171Yb_LAG3-PE") == "LAG3"


def test_a_clone_is_no_part_of_the_antigen():
    panel = Panel.from_channels([("Nd145Di", "145Nd_CD4 (RPA-T4)"), ("Er167Di", "167Er_CD197 (CCR7)")])
    assert list(panel.frame["marker"]) == ["CD4", "CD197 (CCR7)"]


def test_live_barcodes_keep_their_antigen_and_are_told_apart():
    panel = Panel.from_channels([(f"Cd{m}Di", f"CD45-{m}Cd") for m in (106, 110, 111)])
    assert list(panel.frame["marker"]) == ["CD45_106Cd", "CD45_110Cd", "CD45_111Cd"]
    assert set(panel.frame["role"]) == {"marker"}


def fold(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.casefold().translate(str.maketrans("αβγδεκ", "abgdek")))


def open_panels() -> Path:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("CYTOCAR_TEST_DATA", default)).parent / "panels" / "panels_open.csv"
    if not path.is_file():
        pytest.skip(f"the collection of real panels is not at {path}")
    return path


def test_channels_of_real_panels_are_read_as_experts_read_them():
    panels: dict[str, list[dict[str, str]]] = defaultdict(list)
    with open_panels().open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            panels[row["panel_id"]].append(row)
    roles, found = [], []
    for rows in panels.values():
        panel = Panel.from_channels([(row["pnn"], row["pns"]) for row in rows])
        names = [row["marker"] for row in rows]
        for want, (_, got) in zip(rows, panel.frame.iterrows(), strict=True):
            if want["certain"] != "1":
                continue
            roles.append({"none": "other"}.get(got["role"], got["role"]) == want["role"])
            if want["role"] == "marker" and want["marker"] and names.count(want["marker"]) == 1:
                found.append(panel.find(want["marker"]) == got["marker"])
    assert len(roles) > 1300
    assert len(found) > 900
    assert sum(roles) >= 0.99 * len(roles)
    assert sum(found) >= 0.98 * len(found)
