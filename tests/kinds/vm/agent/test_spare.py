"""The process that waits for the next command: it is that command, and nobody's business until then."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gasang.core.errors import GasangError
from gasang.kinds.vm.agent.client import Wants
from gasang.kinds.vm.agent.guest.spare import MOST
from gasang.kinds.vm.agent.protocol import HELLO
from gasang.kinds.vm.agent.wire import packed
from support.agents import HostAgent, host_agent

PATIENCE = 20.0


def children(served: HostAgent) -> list[int]:
    """The agent's, running or not buried."""
    return [int(word) for word in Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()]


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.005)


def waits(served: HostAgent) -> bool:
    """Whether its only child is a spare that sleeps where it is told: it has all it can have."""
    found = children(served)
    if len(found) != 1 or len(descriptors(found[0])) != 7:
        return False
    place = Path(f"/proc/{found[0]}/wchan").read_text()
    return "pipe" in place or place == "0"  # not every kernel tells


def descriptors(pid: int) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(f"/proc/{pid}/fd")
    return []


@pytest.fixture
def spare(served: HostAgent) -> int:
    """The number of the spare."""
    until(lambda: waits(served))
    return children(served)[0]


def test_the_next_command_is_the_process_that_waits(served: HostAgent, spare: int) -> None:
    done = served.client().run(["sh", "-c", "echo $$; cat; echo err >&2; exit 42"], b"in\n")
    assert done == ((42, 0), b"%d\nin\n" % spare, b"err\n")
    until(lambda: waits(served))
    assert children(served) != [spare]


def test_streams_that_are_not_wanted_are_nowhere(served: HostAgent, spare: int) -> None:
    script = f"test $$ = {spare} && test /dev/stdin -ef /dev/null && test /proc/self/fd/2 -ef /dev/null && echo so"
    with served.client().exec(["sh", "-c", script], streams=Wants(errors=False)) as running:
        said = bytearray()
        running.run(lambda stream, data: said.extend(data))
    assert said == b"so\n"


def test_a_command_has_what_one_that_is_started_from_nothing_has(served: HostAgent, spare: int) -> None:
    """Session, signals, mask, groups, directory, variables and descriptors: a long command is no spare's."""
    script = "ps -o sid= -p $$ | grep -qw $$ && grep Sig /proc/self/status; umask; id; pwd; env | sort; ls /proc/self/fd; exit 0; : "
    client = served.client()
    ahead = client.run(["sh", "-c", script + "x"], user="daemon")
    anew = client.run(["sh", "-c", script + "x" * MOST], user="daemon")
    assert b"SigBlk:\t0000000000000000\n" in ahead.output
    assert ahead == anew


def test_one_that_was_killed_is_not_missed(served: HostAgent, spare: int) -> None:
    os.kill(spare, signal.SIGKILL)
    until(lambda: children(served) != [spare])
    assert served.client().run(["echo", "here"]).output == b"here\n"
    until(lambda: waits(served))


def test_it_keeps_no_connection_open(served: HostAgent, spare: int) -> None:
    with served.raw() as connection:
        connection.sendall(packed(HELLO))
        assert len(connection.recv(100)) == 32
        served.client().run(["true"])
        until(lambda: waits(served))
        connection.sendall(bytes(16))
        assert connection.recv(1) == b""


def test_a_command_that_goes_on_does_not_hinder_another_spare(served: HostAgent, spare: int) -> None:
    with served.client().exec(["cat"], streams=Wants(input=True)) as running:
        assert running.pid == spare
        until(lambda: len(children(served)) == 2)
        other = next(pid for pid in children(served) if pid != spare)
        until(lambda: len(descriptors(other)) == 7)
        said = bytearray()
        assert running.run(lambda stream, data: said.extend(data), b"its input ends").code == 0
        assert said == b"its input ends"
    assert served.client().run(["sh", "-c", "echo $$"]).output == b"%d\n" % other


@pytest.fixture
def rooted(tmp_path: Path) -> Iterator[tuple[HostAgent, Path]]:
    """An agent in a root of its own, whose files are old, and that root."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    root = tmp_path / "root"
    for name in ("bin", "dev", "etc"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "sh")
    (root / "dev" / "null").touch()
    (root / "etc" / "passwd").write_text("root:x:0:0::/first:/bin/sh\nann:x:1000:100::/ann:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nwheel:x:10:root\n")
    time.sleep(1.1)  # a spare trusts no file that was changed in the second before
    with host_agent(tmp_path, root=str(root), tool=busybox) as served:
        yield served, root


def homes(served: HostAgent, user: str = "") -> bytes:
    return served.client().run(["/bin/sh", "-c", "echo $HOME"], user=user).output


def test_accounts_are_those_of_the_moment(rooted: tuple[HostAgent, Path]) -> None:
    served, root = rooted
    passwd = root / "etc" / "passwd"
    until(lambda: waits(served))
    assert homes(served) == b"/first\n"
    until(lambda: waits(served))
    assert homes(served, "ann") == b"/ann\n"
    until(lambda: waits(served))
    passwd.write_text(passwd.read_text().replace("/first", "/other"))
    assert homes(served) == b"/other\n"
    until(lambda: waits(served))
    (root / "etc" / "new").write_text("root:x:0:0::/third:/bin/sh\n")
    (root / "etc" / "new").replace(passwd)
    assert homes(served) == b"/third\n"
    with pytest.raises(GasangError, match="no user or group 'ann'"):
        homes(served, "ann")
    passwd.unlink()
    assert homes(served) == b"/root\n"


def test_groups_are_those_of_the_moment(rooted: tuple[HostAgent, Path]) -> None:
    served, root = rooted
    says = ["id", "-G"]
    until(lambda: waits(served))
    assert served.client().run(says, tool=True).output == b"0 10\n"
    until(lambda: waits(served))
    (root / "etc" / "group").write_text("root:x:0:\nwheel:x:11:root\n")
    assert served.client().run(says, tool=True).output == b"0 11\n"
