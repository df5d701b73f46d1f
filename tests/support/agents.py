"""The guest agent as a process of this host, served over a unix socket in the place of a virtual one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.executable import agent_program

TAR = shutil.which("tar") or "/bin/tar"
DESCRIPTOR = 3
AT_REST = 12
"""Descriptors of an agent without connections: 0 to 2, the listener, its tool, /dev/null, the file of its signals, five of its spare."""


class HostAgent:
    """A process, and how it is reached."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.path = folder / "agent.sock"
        self.pid = pid

    def raw(self) -> socket.socket:
        """A connection."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(20)
        made.connect(os.fspath(self.path))
        return made

    def reach(self, first: bytes, patience: float) -> socket.socket:
        """As dialing.dial."""
        made = self.raw()
        made.sendall(first)
        return made

    def client(self) -> Agent:
        """The client, which has not said anything yet."""
        return Agent(self.reach, "guest of the test")

    def comes_to_rest(self, seconds: float = 30.0) -> bool:
        """Whether it has nothing of a connection any more within that time: it hears of a connection's end when it looks."""
        end = time.monotonic() + seconds
        while len(os.listdir(f"/proc/{self.pid}/fd")) != AT_REST:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def resident(self) -> int:
        """Bytes of memory it has, shared ones among them."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGESIZE")


@contextmanager
def host_agent(
    folder: Path, *, root: str = "/", tool: str = TAR, family: str = "x86_64", runner: tuple[str, ...] = ()
) -> Iterator[HostAgent]:
    """An agent that serves until the end of the block; it is to live then."""
    program = folder / "agent"
    program.write_bytes(agent_program(family))
    program.chmod(0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(os.fspath(folder / "agent.sock"))
        listener.listen(128)
        words = [*runner, str(program), "inherited", root, tool]
        place = partial(_place, listener.fileno())
        pid = place(words)
    made = HostAgent(folder, pid)
    try:
        yield made
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the agent has ended"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _place(descriptor: int, words: list[str]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, DESCRIPTOR)]
    if descriptor == DESCRIPTOR:  # what is put where it is already stays closed on exec
        os.set_inheritable(descriptor, True)
        actions = []
    return os.posix_spawn(words[0], words, {}, file_actions=actions)
