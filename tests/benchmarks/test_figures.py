"""Figures: ratios, verdicts and the three forms they are shown in."""

from __future__ import annotations

import json
import math

import pytest
from bench.figures import Figure, Target, as_json, as_markdown, as_text, geometric_mean, middle, number, quotient
from hypothesis import given
from hypothesis import strategies as st

POSITIVE = st.floats(min_value=1e-6, max_value=1e6)


@given(st.lists(POSITIVE, min_size=1, max_size=20), POSITIVE)
def test_geometric_mean_scales_and_lies_between(values: list[float], factor: float) -> None:
    """Of k·v it is k times that of v; it never leaves the range of the values."""
    mean = geometric_mean(values)
    assert min(values) * (1 - 1e-9) <= mean <= max(values) * (1 + 1e-9)
    assert math.isclose(geometric_mean([factor * value for value in values]), factor * mean, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("target", "ratio", "ours", "verdict"),
    [
        (Target("≥", 0.5), 0.5, None, "met"),
        (Target("≥", 0.5), 0.49, None, "missed"),
        (Target("≤", 1.8), 1.9, None, "missed"),
        (Target("≤", 8, "ours"), None, 7.9, "met"),
        (Target("≤", 8, "ours"), 0.1, 8.1, "missed"),
        (Target("≤", 8, "ours"), 0.1, None, ""),
        (Target("≤", 1.8), None, 3.0, ""),
        (None, 1.0, 1.0, ""),
    ],
)
def test_verdict(target: Target | None, ratio: float | None, ours: float | None, verdict: str) -> None:
    """A bound is kept with equality, and without a figure nothing is claimed."""
    assert Figure("f", "s", None, ours, ratio, target).verdict() == verdict


def test_of_peers_takes_ours_over_qemu() -> None:
    """Less is better: a ratio of 2 says twice QEMU's cost."""
    assert Figure.of_peers("boot", "s", {"qemu": 2.0, "gasang": 4.0}).ratio == 2.0
    assert Figure.of_peers("boot", "s", {"qemu": 2.0}).ratio is None


def test_numbers_keep_three_digits() -> None:
    """No exponents, and a dash for what was not measured."""
    assert [number(value) for value in (None, 0.01234, 1.239, 12.39, 123.9, 12345.6)] == ["–", "0.0123", "1.24", "12.4", "124", "12,346"]
    assert middle([]) is None
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert quotient(1.0, 0.0) is None


def test_the_three_forms_hold_the_same_figures() -> None:
    """Text and Markdown have a line a figure; JSON is one object that keeps the exact values."""
    found = [Figure("boot", "s", 1.0, 1.5, 1.5, Target("≤", 1.8)), Figure("cpu", "s", 1.0, None)]
    text, markdown = as_text(found).splitlines(), as_markdown(found).splitlines()
    assert len(text) == 3
    assert "≤ 1.8 ×" in text[1]
    assert "met" in text[1]
    assert len(markdown) == 4
    assert {line.count("|") for line in markdown} == {9}
    parsed = json.loads(as_json(found, {"date": "today"}))
    assert parsed["machine"] == {"date": "today"}
    assert [figure["verdict"] for figure in parsed["figures"]] == ["met", ""]
