from __future__ import annotations

from pathlib import Path

import pytest

from gasang.cli.containers.lines import pairs_in, variables_in
from gasang.core.errors import NotFoundError, UsageError


def test_a_variable_a_line(tmp_path: Path) -> None:
    path = tmp_path / "variables"
    path.write_bytes(b"\xef\xbb\xbfA=1\n\n  # a note\nB=x # y = z\n  C\r\n")
    assert variables_in(str(path), "--env-file") == ("A=1", "B=x # y = z", "C")


def test_a_note_a_line(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("a=b=c\nd\n")
    assert pairs_in(str(path), "--label-file") == (("a", "b=c"), ("d", ""))


def test_the_line_at_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "variables"
    path.write_text("A=1\nB C=2\n")
    with pytest.raises(UsageError, match=f"--env-file {path}, line 2 'B C=2': it names no variable"):
        variables_in(str(path), "--env-file")
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is no UTF-8 text"):
        variables_in(str(path), "--env-file")
    with pytest.raises(NotFoundError, match="there is no such file"):
        variables_in(str(tmp_path / "none"), "--env-file")
