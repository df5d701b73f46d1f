"""The guest agent in stock Debian for amd64: its own program, over virtual sockets on PCI."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gasang.images.control import ControlPort
from gasang.kinds.vm.agent import executable
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.sockets import GUEST_SOCKET, sockets_of
from support.nested.images import Heard, running
from support.nested.inside import AGENT


def test_a_restored_machine_and_a_twin_have_one_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "agent_program", lambda architecture: Path(AGENT).read_bytes())
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    read, write = os.pipe()
    with (
        os.fdopen(read, "rb") as told,
        os.fdopen(write, "wb", buffering=0) as telling,
        running("cloud", "echo ready; exec sleep 1000", b"ready\n", sockets=tmp_path / "one") as run,
    ):
        agent = Agent.connect(tmp_path / "one" / GUEST_SOCKET)
        agent.run(["sh", "-c", "echo before > /run/mark"])
        snapshot = run.vm.snapshot(tmp_path / "store", "kept")
        agent.run(["sh", "-c", "echo after > /run/mark"])

        def body(twin: AnyMachine) -> int:
            sockets = sockets_of(twin.board.devices)
            assert sockets is not None
            sockets.renew(tmp_path / "three")
            telling.write(b"+")
            twin.start()
            twin.join()
            sockets.close()
            return 7

        with run.vm.fork(body) as twin:
            assert told.read(1) == b"+"
            other = Agent.connect(tmp_path / "three" / GUEST_SOCKET)
            other.new_identity("twin")
            assert other.run(["sh", "-c", "cat /run/mark; hostname"]).output == b"after\ntwin\n"
            assert agent.run(["hostname"]).output != b"twin\n"
            other.shutdown(grace=0)
            assert twin.wait() == 7
    control = ControlPort(lambda stage: None)
    with restored_guest(snapshot, Heard(), control, speaks=False, sockets=tmp_path / "two") as (vm, _):
        vm.start()
        again = Agent.connect(tmp_path / "two" / GUEST_SOCKET)
        again.new_identity("restored")
        assert again.run(["sh", "-c", "cat /run/mark; hostname"]).output == b"before\nrestored\n"
        assert abs(again.health().time - time.time()) < 60
        vm.stop()
        vm.join()
