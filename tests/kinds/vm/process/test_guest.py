"""What a guest is told of its network, and when its cable goes in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gasang.core.errors import StateError
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.network import forgetting, learning
from gasang.kinds.vm.process import guest as module
from gasang.kinds.vm.process.guest import Guest
from support.supervised import eventually

CARD = Card("02:00:00:00:00:07", ("10.0.0.2/24",), ("10.0.0.1",), "nameserver 10.0.0.1\n")
OTHER = Card("02:00:00:00:00:08", ("10.0.0.3/24",), ("10.0.0.1",), "nameserver 10.0.0.1\n")


class Agent:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Sequence[bytes]]] = []
        self.ran: list[tuple[str, ...]] = []
        self.refuses = False

    def new_identity(self, name: str, network: Sequence[bytes] = ()) -> None:
        if self.refuses:
            raise StateError("guest", "it hangs up", "")
        self.told.append((name, network))

    def run(self, words: Sequence[str], given: bytes, *, tool: bool) -> None:
        self.ran.append(tuple(words))


class Known:
    """A guest with a cable that writes down what becomes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, card: Card | None, *, agent: bool = True) -> None:
        self.agent, self.warned, self.happened = Agent(), [], []  # type: ignore[var-annotated]
        cable = SimpleNamespace(plug=lambda tap: self.happened.append("in"), unplug=lambda: self.happened.append("out"))
        self.vm: Any = SimpleNamespace(card=card, workers=(), ended=threading.Event())
        monkeypatch.setattr(module, "cable_of", lambda workers: cable)
        monkeypatch.setattr(module.Tap, "taken", staticmethod(lambda descriptor: descriptor))
        monkeypatch.setattr(Guest, "_agent", lambda guest, kept=None: self.agent if agent else None)
        self.guest = Guest(folder, self.vm, self.warned.append)


def test_what_it_is_already_it_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = Known(monkeypatch, tmp_path, CARD)
    known.guest.identify("", CARD, 5)
    eventually(lambda: known.happened == ["in"])
    assert (known.agent.told, known.agent.ran, known.vm.card) == ([("", ())], [], CARD)


def test_another_address_is_told_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = Known(monkeypatch, tmp_path, CARD)
    known.guest.identify("twin", OTHER, 5)
    eventually(lambda: known.happened == ["in"])
    assert known.agent.told == [("twin", (forgetting(OTHER, CARD), learning(OTHER)))]
    assert (known.agent.ran, known.vm.card) == ([], OTHER)  # whom it asks for names is the same


def test_who_is_not_known_is_told_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = Known(monkeypatch, tmp_path, None)
    known.guest.identify("", CARD, 5)
    eventually(lambda: known.happened == ["in"])
    assert (len(known.agent.told), known.agent.ran) == (1, [("tee", "/etc/resolv.conf")])


def test_the_cable_goes_out_where_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = Known(monkeypatch, tmp_path, CARD)
    refusing.agent.refuses = True
    refusing.guest.identify("", OTHER, 5)
    eventually(lambda: refusing.happened == ["out"])
    assert refusing.vm.card is None  # it may have heard a part of it
    eventually(lambda: bool(refusing.warned))
    without = Known(monkeypatch, tmp_path, CARD, agent=False)
    without.guest.identify("", OTHER, 5)
    alone = Known(monkeypatch, tmp_path, CARD)
    alone.guest.identify("", None, -1)
    assert (without.happened, alone.happened) == (["out"], ["out"])
    eventually(lambda: alone.agent.told == [("", ())])


def test_who_was_told_is_not_hung_up_on_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has work with that, and is about to be asked for something."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(module, "dial", lambda path, subject, first, patience: theirs)
    monkeypatch.setattr(Guest, "sockets", object())
    kept = ExitStack()
    agent = Guest(tmp_path, SimpleNamespace(), print)._agent(kept)  # type: ignore[arg-type]
    assert agent is not None
    agent._reach(b"", 1).close()
    ours.setblocking(False)
    with ours:
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        kept.close()
        assert ours.recv(1) == b""
