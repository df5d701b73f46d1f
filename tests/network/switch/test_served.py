"""A switch in a process of its own, and what it says to those who tell it nonsense."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, OutOfSpaceError, UsageError
from gasang.network.switch import control
from gasang.network.switch.handle import Handle, there
from gasang.network.switch.ports import Allowed
from gasang.network.user.service import cable


def test_what_it_cannot_is_said_and_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "lan"
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    switch = Handle.start(path, namespace)
    try:
        assert os.fstat(switch.namespace).st_ino == os.fstat(namespace).st_ino
        ends = [cable() for _ in range(65)]
        allowed = control.allowed_document(Allowed())
        add, end = {"do": "add", "name": "x", "allowed": allowed}, ends[0][1]
        for words, descriptor in (
            ({"do": "fly"}, -1), ({"name": "x"}, -1), (add, -1), ({"do": "add", "allowed": 7}, end), ({"do": "missed", "mirror": 99}, -1),
            ({**add, "allowed": {**allowed, "vlan": 5000}}, end), ({**add, "allowed": {**allowed, "mac": "0x"}}, end),
            ({**add, "vxlan": {"vni": 1}}, end),
        ):  # fmt: skip
            with _connected(path) as asking:
                control.send(asking, words, descriptor)
                answer, _ = control.receive(asking)
                with pytest.raises(GasangError):
                    control.done(answer)
        for junk in (b"junk", b"[1]", b"\xff\xfe"):
            with _connected(path) as asking:
                asking.send(junk)
                assert asking.recv(100) == b""
        for number, (ours, _theirs) in enumerate(ends[:64]):
            switch.add(f"port {number}", ours, Allowed(vlan=7))
        with pytest.raises(OutOfSpaceError):
            switch.add("one more", ends[64][0], Allowed())
        switch.add("port 3", ends[64][0], Allowed())
        switch.remove("port 4")
        switch.remove("nobody's")
        with socket.socket(fileno=ends[5][1]) as gone:
            assert gone.fileno() >= 0
        ends[5] = (ends[5][0], -1)
        assert len(switch.counts()) <= 63
        assert list(there(tmp_path)) == [path]
    finally:
        switch.end()
        os.waitpid(switch.process, 0)
        for descriptor in (namespace, *(each for pair in ends for each in pair if each >= 0)):
            os.close(descriptor)
    assert not switch.is_alive()
    assert Handle.find(path) is None
    assert list(there(tmp_path)) == []


def test_what_is_no_document() -> None:
    for wrong in (None, 7, {}, {"vni": "x", "peers": [], "port": 1}, {"vni": 1, "peers": [1], "port": 1}):
        if wrong is not None:
            with pytest.raises(UsageError):
                control.vxlan_of(wrong)
        with pytest.raises(UsageError):
            control.allowed_of(wrong)
    allowed = Allowed(vlan=3, trunk=(4, 5), mac=bytes(range(6)), ipv4=b"1234", rate_in=8, latency=0.5, outward=True)
    assert control.allowed_of(control.allowed_document(allowed)) == allowed


def _connected(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.settimeout(30)
    made.connect(str(path))
    return made
