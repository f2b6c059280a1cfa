"""Stored values of FCS channels as what they stand for: gains, logarithmic amplifiers, time."""

from __future__ import annotations

import numpy as np
import pytest

from cytocar import FcsError
from cytocar.gate._shapes.scale_values import scale_values

EVENTS = np.array([[512.0, 8.0, 30.0]])
CHANNELS = ["FL1", "FL2", "Time"]


def test_a_logarithmic_integer_channel_is_ten_to_its_decades() -> None:
    keywords = {"$P1E": "4,0", "$P1R": "1024", "$DATATYPE": "I"}
    assert scale_values(EVENTS, keywords, CHANNELS).tolist() == [[100.0, 8.0, 30.0]]
    assert scale_values(EVENTS, {**keywords, "$P1E": "4,0.5"}, CHANNELS).tolist() == [[50.0, 8.0, 30.0]]


def test_decades_of_floating_point_channels_mean_nothing() -> None:
    keywords = {"$P1E": "4,0", "$P1R": "1024", "$DATATYPE": "F"}
    assert scale_values(EVENTS, keywords, CHANNELS) is EVENTS


def test_a_gain_divides_and_one_that_is_not_above_zero_is_ignored() -> None:
    assert scale_values(EVENTS, {"$P2G": "2"}, CHANNELS).tolist() == [[512.0, 4.0, 30.0]]
    for gain in ("0", "-2", "unknown"):
        assert scale_values(EVENTS, {"$P2G": gain}, CHANNELS) is EVENTS


def test_time_stays_as_it_is_stored() -> None:
    for name in ("Time", " TIME"):
        assert scale_values(EVENTS, {"$P3G": "0.01"}, ["FL1", "FL2", name]) is EVENTS


def test_decades_that_are_not_two_numbers_are_an_error_with_the_keyword() -> None:
    with pytest.raises(FcsError, match=r"\$P2E is '4'") as caught:
        scale_values(EVENTS, {"$P2E": "4"}, CHANNELS)
    assert caught.value.fix == "expected two numbers, such as 0,0"
