"""Twins that wait: they are told once, when they are ready, and end with their link."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor

from gasang.kinds.vm.process import held
from gasang.kinds.vm.process.held import Held
from gasang.kinds.vm.snapshot.fork import Twin
from gasang.kinds.vm.snapshot.identity import Identity

WORDS = {"hostname": "", "network": None}


def nobody() -> Twin:
    """A process that nobody waits for."""
    return Twin(0, Identity.fresh())


def test_one_that_is_ready_is_told_who_it_is() -> None:
    ours, theirs = held.link()
    source, sink = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.wait, theirs)
        assert ours.recv(1, socket.MSG_PEEK) == held.READY
        try:
            assert Held(nobody(), ours, "/machine").release(WORDS, [sink])
        finally:
            os.close(sink)
        come = waiting.result()
    assert come is not None
    words, [handed] = come
    assert {name: words[name] for name in WORDS} == WORDS
    os.write(handed.fileno(), b"streams")
    handed.close()
    assert os.read(source, 20) == b"streams"
    os.close(source)


def test_one_that_is_not_ready_is_let_go() -> None:
    ours, theirs = held.link()
    assert not Held(nobody(), ours, "/machine").release(WORDS, [])
    assert held.wait(theirs) is None


def test_one_that_has_ended_is_none() -> None:
    ours, theirs = held.link()
    theirs.sendall(held.READY)
    theirs.close()
    assert not Held(nobody(), ours, "/machine").release(WORDS, [])


def test_one_that_nobody_wants_hears_of_it() -> None:
    ours, theirs = held.link()
    Held(nobody(), ours, "/machine").drop()
    assert held.wait(theirs) is None
