"""A suite of a mirror: its date, and that one build at a time uses the cache. The rest is tested by what is built (test_build.py)."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.images.mirror import Mirror
from gasang.images.release import Release
from gasang.images.suite import Suite


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    release = Release("trixie", "trixie", "13.7", "Sat, 12 Sep 2026 07:55:41 UTC", ("amd64",), {}, by_hash=False)
    return Suite("trixie", "amd64", release, Mirror(), tmp_path / "packages")


def test_when_the_release_was_made(suite: Suite) -> None:
    assert (suite.time, suite.moment) == (1_789_199_741, "2026-09-12T07:55:41Z")


@pytest.mark.parametrize("date", ["", "soon", "Thu, 01 Jan 1960 00:00:00 UTC"])
def test_a_release_without_a_date(suite: Suite, date: str) -> None:
    undated = replace(suite, release=replace(suite.release, date=date))
    assert (undated.time, undated.moment) == (0, "1970-01-01T00:00:00Z")


def test_one_build_waits_for_another(suite: Suite) -> None:
    order: list[str] = []

    def other() -> None:
        with suite.alone():
            order.append("other")

    thread = threading.Thread(target=other)
    with suite.alone():
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    assert list(suite.downloads.iterdir()) == []
