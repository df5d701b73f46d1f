"""A switch behind a socket: who connects is a port, and who leaves frees it."""

from __future__ import annotations

import os
import queue
import socket
import stat
import threading
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, NotFoundError, StateError
from gasang.network.switch.door import Door, connect
from gasang.network.switch.ports import Allowed

ONE, TWO = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def test_who_connects_is_a_port(tmp_path: Path) -> None:
    path, told = str(tmp_path / "lan"), queue.Queue[str]()
    door = Door(path, Allowed(), told.put)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    serving = threading.Thread(target=door.serve)
    serving.start()
    one, two = (socket.socket(fileno=connect(path)) for _ in range(2))
    assert [told.get(timeout=30) for _ in range(2)] == ["port 0: connected", "port 1: connected"]
    with one, two:
        two.settimeout(30)
        frame = bytes(12) + TWO + ONE + b"\x88\xb5" + bytes(46)
        one.send(frame)
        assert two.recv(100) == frame
        one.close()
        assert told.get(timeout=30) == "port 0: gone"
    with pytest.raises(StateError):
        Door(path, Allowed())
    door.close()
    serving.join(30)
    door.close()
    with pytest.raises(NotFoundError):
        connect(path)


def test_what_is_left_of_a_dead_switch_is_taken_over_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lan"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(path))
    with pytest.raises(NotFoundError):
        connect(str(path))
    Door(str(path), Allowed()).close()
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(GasangError):
        Door(str(path), Allowed())
    with pytest.raises(GasangError):
        Door(str(tmp_path / "none" / "lan"), Allowed())
    assert path.read_text() == "mine"
