from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gasang.cli.containers import amounts
from gasang.cli.containers.values import size, whole_number
from gasang.core.errors import UsageError


@pytest.mark.parametrize(
    ("convert", "text", "amount"),
    [
        (amounts.integer, "-500", -500),
        (amounts.integer, "7", 7),
        (amounts.percent, "100", 100),
        (amounts.size_or_unlimited, "-1", -1),
        (amounts.size_or_unlimited, "2g", 2 << 30),
        (amounts.number_or_unlimited, "-1", -1),
        (amounts.number_or_unlimited, "0", 0),
        (amounts.nanoseconds, "1m30s", 90_000_000_000),
        (amounts.nanoseconds, "250ms", 250_000_000),
        (amounts.resource_limit, "nofile=1024:4096", {"Name": "nofile", "Soft": 1024, "Hard": 4096}),
        (amounts.resource_limit, "core=0", {"Name": "core", "Soft": 0, "Hard": 0}),
        (amounts.resource_limit, "memlock=-1:-1", {"Name": "memlock", "Soft": -1, "Hard": -1}),
        (amounts.resource_limit, "nproc=5:-1", {"Name": "nproc", "Soft": 5, "Hard": -1}),
        (amounts.rate(size), "/dev/sda:10M", {"Path": "/dev/sda", "Rate": 10 << 20}),
        (amounts.rate(whole_number), "/dev/disk/by-id/a:b:9", {"Path": "/dev/disk/by-id/a:b", "Rate": 9}),
    ],
)
def test_amounts(convert: Callable[[str, str], Any], text: str, amount: Any) -> None:
    assert convert(text, "--option") == amount


@pytest.mark.parametrize(
    ("convert", "text", "says"),
    [
        (amounts.integer, "--5", "is no number"),
        (amounts.percent, "101", "more than 100"),
        (amounts.size_or_unlimited, "-2", "is no size"),
        (amounts.number_or_unlimited, "-2", "is no number"),
        (amounts.nanoseconds, "soon", "is no duration"),
        (amounts.resource_limit, "nofile", "not NAME=SOFT"),
        (amounts.resource_limit, "=5", "not NAME=SOFT"),
        (amounts.resource_limit, "nofile=5:4", "above the hard one"),
        (amounts.resource_limit, "nofile=-1:4", "above the hard one"),
        (amounts.resource_limit, "nofile=5:", "--option nofile: '' is no number"),
        (amounts.rate(size), "sda:10M", "not DEVICE:AMOUNT"),
        (amounts.rate(size), "/dev/sda", "not DEVICE:AMOUNT"),
        (amounts.rate(size), "/dev/sda:much", "--option /dev/sda: 'much' is no size"),
    ],
)
def test_what_is_none(convert: Callable[[str, str], Any], text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        convert(text, "--option")
