"""The order of versions, with dpkg as the judge where it is installed."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.images.versions import RELATIONS, compare, satisfies, split

# In ascending order; Debian Policy 5.6.12 and the corners dpkg's own tests ask about.
ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0.1~rc1-1",
    "0.1-1",
    "1.0~beta1~svn1245",
    "1.0~beta1",
    "1.0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0-1.1",
    "1.0-2",
    "1.0-10",
    "1.0+dfsg-1",
    "1.2",
    "1.10",
    "2a",
    "2+",
    "2.",
    "10",
    "1:0",
    "1:0.1",
    "2:0~",
]
VERSIONS = st.from_regex(r"([0-9]{1,2}:)?[0-9][A-Za-z0-9.+~]{0,6}(-[A-Za-z0-9+.~]{1,4})?", fullmatch=True)


def test_the_order() -> None:
    for (place, one), (other_place, other) in itertools.product(enumerate(ASCENDING), repeat=2):
        result = compare(one, other)
        assert (result > 0) - (result < 0) == (place > other_place) - (place < other_place), (one, other)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.0-", "1.0"), ("1.01", "1.1"), ("1a0", "1a")])
def test_what_is_equal(one: str, other: str) -> None:
    assert compare(one, other) == 0 == compare(other, one)


@pytest.mark.parametrize(
    ("version", "parts"),
    [("1:2.3-4", (1, "2.3", "4")), ("2-3-4", (0, "2-3", "4")), ("2.3", (0, "2.3", "")), ("x:1", (0, "x:1", "")), ("1:2:3", (1, "2:3", ""))],
)
def test_parts(version: str, parts: tuple[int, str, str]) -> None:
    assert split(version) == parts


@pytest.mark.parametrize(
    ("relation", "results"), [("<<", (1, 0, 0)), ("<=", (1, 1, 0)), ("=", (0, 1, 0)), (">=", (0, 1, 1)), (">>", (0, 0, 1))]
)
def test_relations(relation: str, results: tuple[int, int, int]) -> None:
    assert tuple(int(satisfies(version, relation, "2")) for version in ("1", "2", "3")) == results


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg, the judge, is not installed")
@settings(max_examples=60)
@given(VERSIONS, VERSIONS, st.sampled_from(sorted(RELATIONS)))
def test_dpkg_agrees(one: str, other: str, relation: str) -> None:
    done = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False, capture_output=True)
    assert (done.returncode == 0) == satisfies(one, relation, other), (one, relation, other)
