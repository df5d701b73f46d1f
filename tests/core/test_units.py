from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.core.units import counted, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512M", 512 << 20),
        ("1g", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("2 TiB", 2 << 40),
        ("10kB", 10_000),
        ("1GB", 10**9),
        ("1K", 1024),
        ("7E", 7 << 60),
        ("3b", 3),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1X", "1.2.3G", "one", "8E", "0.3", "1e9", "٣G", "1 G B", "9" * 400, "1.0001K", "inf", "nan"]
)
def test_other_sizes_are_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text, "--memory")
    assert caught.value.subject == "--memory"
    assert repr(text) in caught.value.cause


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_plain_numbers_are_themselves(count: int) -> None:
    assert parse_size(str(count)) == count


@given(st.integers(min_value=0, max_value=(1 << 62)))
def test_a_formatted_size_is_within_its_rounding(count: int) -> None:
    text, unit = format_size(count).split(" ")
    scale = parse_size(f"1{unit}")
    assert abs(float(text) * scale - count) <= scale * 0.0501
    assert 1 <= float(text) < 1024 or count == 0


@given(st.text())
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    with suppress(UsageError):
        assert 0 <= parse_size(text) < 1 << 63


def test_things_are_counted() -> None:
    assert [counted(number, "disk") for number in (0, 1, 2)] == ["0 disks", "1 disk", "2 disks"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1m30s", 90), ("250ms", 0.25), ("2h", 7200), ("1h 30m", 5400), ("1.5s", 1.5), ("1d", 86400), ("2min", 120)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5 5", "1y", "-1s", "1h-5m", "99999d", "1.2.3s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"duration|ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (12, "12 s"), (59.7, "1 min 0 s"), (90, "1 min 30 s"), (7500, "2 h 5 min"), (3599.9, "1 h 0 min")],
)
def test_durations_are_shown(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
