"""What a .dockerignore leaves out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.daemon.build.ignore import Ignore


@pytest.mark.parametrize(
    ("patterns", "path", "left_out"),
    [
        ("*.log", "a.log", True),
        ("*.log", "x/a.log", False),
        ("**/*.log", "x/y/a.log", True),
        ("**/*.log", "a.log", True),
        ("node_modules", "node_modules/a/b", True),
        ("/build", "build/x", True),
        ("a/../b", "b", True),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "other", True),
        ("docs/*\n!docs/README.md", "docs/README.md", False),
        ("# comment\n\n  ", "a", False),
        ("temp?", "temp1", True),
        ("temp?", "temp12", False),
        ("[ab].c", "a.c", True),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        (".", "a", False),
    ],
)
def test_patterns(patterns: str, path: str, left_out: bool) -> None:
    assert Ignore(patterns).leaves_out(path) is left_out


@given(st.text(alphabet="ab*?[]!/\\.#\n", max_size=60), st.text(alphabet="ab/.", max_size=20))
def test_any_pattern_is_read_or_refused(patterns: str, path: str) -> None:
    with suppress(UsageError):
        Ignore(patterns).leaves_out(path)
