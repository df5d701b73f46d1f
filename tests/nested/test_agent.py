"""The guest agent in stock Debian for amd64: its own program, over virtual sockets on PCI."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.console import WindowSize
from gasang.core.errors import GasangError
from gasang.kinds.vm.agent import executable
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.sockets import GUEST_SOCKET
from support.nested.images import running
from support.nested.inside import AGENT


@pytest.mark.parametrize("kernel", ["cloud", "generic"])
def test_commands_and_the_end(kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "agent_program", lambda architecture: Path(AGENT).read_bytes())
    with running(kernel, "echo ready; exec sleep 1000", b"ready\n", sockets=tmp_path) as run:
        agent = Agent.connect(tmp_path / GUEST_SOCKET)
        assert agent.run(["sh", "-c", "uname -m; cat >&2; exit 42"], b"given" * 50_000) == ((42, 0), b"x86_64\n", b"given" * 50_000)
        assert agent.run(["head", "-c", "1000000", "/dev/zero"]).output == bytes(1_000_000)
        with pytest.raises(GasangError, match="no such program"):
            agent.exec(["no-such-program"])
        got = bytearray()
        with agent.exec(["stty", "size"], terminal=WindowSize(90, 33)) as command:
            assert command.run(lambda stream, data: got.extend(data)) == (0, 0)
        assert got == b"33 90\r\n"
        agent.new_identity("renamed")
        assert agent.run(["cat", "/proc/sys/kernel/hostname"]).output == b"renamed\n"
        assert 200 << 20 < agent.health().memory < 320 << 20
        agent.shutdown(grace=5)
        assert run.vm.ended.wait(60)
    assert run.control.code == 143
    assert run.control.has_agent
