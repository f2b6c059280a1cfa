"""Colours are fixed by name, and drawing leaves no trace in matplotlib's settings."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from cytocar._core import keys, palette
from cytocar.pl._page import fitted_text, style

HOME = Path(style.__file__).parents[1]

# linear-light simulation of full colour blindness (Machado, Oliveira, Fernandes 2009, doi 10.1109/TVCG.2009.113)
VISION = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def seen(colour: str, vision: str) -> np.ndarray:
    """Return where a colour lies in OKLab for one kind of vision."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return TO_LAB @ np.cbrt(TO_LMS @ np.clip(VISION[vision] @ linear, 0, 1))


def nearest(colours: list[str], vision: str) -> float:
    places = [seen(colour, vision) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(places, 2))


def test_every_colour_is_named_once_and_in_one_file() -> None:
    colours = Path(palette.__file__)
    files = [colours, *HOME.rglob("*.py")]
    codes = {path: re.findall(r'"(#[0-9A-Fa-f]{6})"', path.read_text("utf-8")) for path in files}
    both = codes.pop(colours) + codes.pop(HOME / "_page" / "style.py")
    assert not [path.name for path, own in codes.items() if own]
    examples = ("#332288", "#DDCC77", "#0072B2", "#B8B8B8", "#CC6677")
    named = [name for name in both if name not in examples]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("vision", VISION)
def test_subsets_stay_apart_in_every_kind_of_vision(vision: str) -> None:
    assert nearest([palette.SUBSET_COLOURS[name] for name in keys.SUBSETS], vision) > 0.07
    assert nearest([palette.SUBSET_COLOURS[name] for name in (keys.CAR, keys.HOST)], vision) > 0.2


@pytest.mark.parametrize("vision", VISION)
def test_clusters_stay_apart_and_differ_from_the_grey_of_none(vision: str) -> None:
    grey = [palette.NO_CLUSTER_COLOUR]
    assert nearest([*palette.CLUSTER_COLOURS[:9], *grey], vision) > 0.05
    assert nearest([*palette.CLUSTER_COLOURS, *grey], vision) > 0.03


def test_a_cluster_has_its_colour_whatever_else_is_asked_for() -> None:
    whole = palette.cluster_colours(str(i) for i in range(1, 31))
    assert len(set(whole.values())) == 30
    for label, colour in whole.items():
        assert palette.cluster_colours(["-1", label]) == {"-1": palette.NO_CLUSTER_COLOUR, label: colour}


def test_named_clusters_take_colours_in_sorted_order() -> None:
    assert list(palette.cluster_colours(["C10", "C9"]).items()) == [
        ("C10", palette.CLUSTER_COLOURS[1]),
        ("C9", palette.CLUSTER_COLOURS[0]),
    ]


def test_expression_gets_steadily_darker() -> None:
    ramp = style.expression_map()(np.linspace(0, 1, 50))[:, :3]
    assert (np.diff(ramp @ [0.299, 0.587, 0.114]) < 0).all()


def test_timepoints_go_from_dark_to_light() -> None:
    colours = style.timepoint_colours(["2mo", "1yr", "5yr"]).values()
    light = [np.dot(matplotlib.colors.to_rgb(colour), [0.299, 0.587, 0.114]) for colour in colours]
    assert light == sorted(light)


def test_style_is_the_same_under_any_settings_and_puts_them_back() -> None:
    with matplotlib.rc_context({"font.size": 23, "text.usetex": False, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        with style.style():
            assert matplotlib.rcParams["font.size"] == style.FONT
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert dict(matplotlib.rcParams) == before


def test_style_is_put_back_after_an_error() -> None:
    before = dict(matplotlib.rcParams)

    @style.styled
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        broken()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a$b$c", r"a\$b\$c"),
        ("two\nlines\x00", "two lines"),
        ("car", "CAR-T"),
        ("0123456789abcdef", "01234…bcdef"),
    ],
)
def test_label(text: str, drawn: str) -> None:
    assert fitted_text.label(text, 10) == drawn


def test_widths_are_at_least_those_of_the_renderer() -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    for text in ("n = 2,191", "CD107a", "P1_2mo", "HLA-DR", "mmmWWW", "95 % interval", "Ki67 (%)"):
        real = (
            TextPath((0, 0), text, prop=FontProperties(family="DejaVu Sans", size=7)).get_extents().width
            * 25.4
            / 72
        )
        assert real <= fitted_text.width_mm(text, 7) <= 1.35 * real + 0.6, text
