from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.terminal import DetachKeys, RawMode, split_at_leave_key, window_size
from gasang.core.errors import UsageError

if TYPE_CHECKING:
    from conftest import Person

RAW = """
import os, signal, sys
from gasang.cli.terminal import RawMode
{before}
with RawMode(0):
    os.write(1, b"in")
    {inside}
os.write(1, b"out")
signal.pause()
"""


@given(st.binary())
def test_what_was_typed_before_the_key_is_kept(data: bytes) -> None:
    before, leaves = split_at_leave_key(data)
    assert data.startswith(before)
    assert leaves == (b"\x1d" in data)
    assert b"\x1d" not in before
    assert leaves or before == data


def _pieces(data: bytes, size: int) -> tuple[bytes, bool]:
    """What DetachKeys makes of `data` typed `size` keys at a time."""
    keys, kept = DetachKeys(), b""
    for start in range(0, len(data), size):
        piece, leaves = keys.split(data[start : start + size])
        kept += piece
        if leaves:
            return kept, True
    return kept, False


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [(b"ax", (b"ax", False)), (b"xaab", (b"xa", True)), (b"\x1d", (b"\x1d", False)), (b"aaa", (b"aa", False)), (b"ab\x10", (b"", True))],
)
def test_keys_of_ones_own(typed: bytes, wanted: tuple[bytes, bool]) -> None:
    assert DetachKeys(b"ab", leave_key=False).split(typed) == wanted


@given(st.text(alphabet="ab\x10\x11\x1d").map(str.encode), st.integers(min_value=1, max_value=5))
def test_either_way_of_leaving_is_found_however_it_is_typed(data: bytes, size: int) -> None:
    ends = [position for position in (data.find(b"\x1d"), data.find(b"\x10\x11")) if position >= 0]
    wanted = data[: min(ends)] if ends else data.removesuffix(b"\x10")
    if ends and data[min(ends)] == 0x1D:
        wanted = wanted.removesuffix(b"\x10")
    assert _pieces(data, size) == (wanted, bool(ends))


def test_a_pipe_is_no_terminal() -> None:
    read, write = os.pipe()
    try:
        assert window_size(read) is None
        with pytest.raises(UsageError, match="no terminal"):
            RawMode(read)
    finally:
        os.close(read)
        os.close(write)


def test_raw_mode_is_entered_and_undone(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(RAW.format(before="", inside="os.read(0, 1)"))
    before = person.settings()
    person.reads_until(b"in")
    assert person.is_raw()
    person.types(b"\x03")  # Ctrl-C is a byte here, no signal
    person.reads_until(b"out")
    assert person.settings() == before


ENDINGS = {
    "exception": ("", "raise ZeroDivisionError", 1),
    "exit": ("", "sys.exit(3)", 3),
    "signal handler": ("signal.signal(signal.SIGTERM, lambda *a: sys.exit(4))", "os.kill(os.getpid(), signal.SIGTERM)", 4),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_raw_mode_is_undone_however_it_ends(ending: str, in_terminal: Callable[..., Person]) -> None:
    before, inside, code = ENDINGS[ending]
    person = in_terminal(RAW.format(before=before, inside=inside))
    person.reads_until(b"in")
    assert person.exit_code() == code
    assert not person.is_raw()


def test_raw_mode_is_undone_at_the_interpreters_end(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal("from gasang.cli.terminal import RawMode\nRawMode(0).__enter__()\nprint('in', flush=True)")
    person.reads_until(b"in")
    assert person.exit_code() == 0
    assert not person.is_raw()


def test_a_terminal_that_has_gone_is_no_error(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal("import os\nfrom gasang.cli.terminal import RawMode\nwith RawMode(0):\n  print('in', flush=True)\n  os.close(0)")
    person.reads_until(b"in")
    assert person.exit_code() == 0


def test_the_windows_size_is_read(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal("import os\nfrom gasang.cli.terminal import window_size\nos.read(0, 1)\nprint(window_size(1))")
    person.resize(101, 37)
    person.types(b"\n")
    person.reads_until(b"WindowSize(columns=101, rows=37)")


def test_ending_by_hangup_is_possible(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal("import signal\nprint('in', flush=True)\nsignal.pause()")
    person.reads_until(b"in")
    person.sends(signal.SIGHUP)
    assert person.exit_code() == -signal.SIGHUP
