"""Warnings: a line each, and a guest cannot flood the console with them."""

from __future__ import annotations

import threading

import pytest

from gasang.kinds.vm.warnings import MOST, Warnings


def said(*sentences: str, newline: str = "\n") -> bytes:
    out = bytearray()
    warn = Warnings(out.extend, newline)
    for sentence in sentences:
        warn(sentence)
    return bytes(out)


def test_a_warning_is_a_line() -> None:
    assert said("virtio disk at 0x10001000: a loop") == b"gasang: warning: virtio disk at 0x10001000: a loop\n"


def test_on_a_raw_terminal_the_carriage_returns() -> None:
    assert said("disk a: it is full", newline="\r\n") == b"gasang: warning: disk a: it is full\r\n"


def test_a_subject_is_told_of_a_few_times() -> None:
    lines = said(*(f"disk a: {number}" for number in range(1000)), "disk b: last").splitlines()
    assert len(lines) == MOST + 1
    assert [b"no more is told" in line for line in lines] == [False] * (MOST - 1) + [True, False]
    assert lines[-1] == b"gasang: warning: disk b: last"


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [("disk \x1b[31m: no", b"disk \\x1b[31m: no"), ("a: b\nc", b"a: b\\nc"), ("a: \ud800", b"a: \\ud800")],
)
def test_nothing_in_a_warning_is_obeyed(sentence: str, shown: bytes) -> None:
    assert said(sentence) == b"gasang: warning: " + shown + b"\n"


def test_threads_share_the_count() -> None:
    out: list[bytes] = []
    warn = Warnings(out.append)
    threads = [threading.Thread(target=lambda: [warn("disk a: no") for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out) == MOST
