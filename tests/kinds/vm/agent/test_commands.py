"""Commands that the agent runs: it is a process of this host here, and the host's root is the guest's."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.core.console import WindowSize
from gasang.core.errors import GasangError
from gasang.kinds.vm.agent.client import ENVIRONMENT, Agent, Wants
from gasang.kinds.vm.agent.errors import CommandNotFoundError, CommandRefusedError
from gasang.kinds.vm.agent.running import STDOUT
from support.agents import HostAgent
from support.supervised import eventually

BIG = os.urandom(1 << 20)


@pytest.fixture
def agent(served: HostAgent) -> Agent:
    return served.client()


def said(agent: Agent, *words: str, given: bytes = b"", **how: object) -> bytes:
    """What a command that succeeds writes."""
    done = agent.run(words, given, **how)  # type: ignore[arg-type]
    assert done.outcome == (0, 0), done
    return done.output


def test_what_it_writes_and_how_it_ends(agent: Agent) -> None:
    done = agent.run(["sh", "-c", "echo out; echo err >&2; exit 42"])
    assert done == ((42, 0), b"out\n", b"err\n")


@pytest.mark.parametrize(("number", "code"), [(9, 137), (15, 143), (6, 134)])
def test_a_signal_ends_it(agent: Agent, number: int, code: int) -> None:
    assert agent.run(["sh", "-c", f"ulimit -c 0; kill -{number} $$"]).outcome == (code, number)


def test_input_goes_through_and_ends(agent: Agent) -> None:
    assert said(agent, "sha256sum", given=BIG).split()[0].decode() == hashlib.sha256(BIG).hexdigest()
    assert said(agent, "cat", given=BIG) == BIG
    assert said(agent, "cat") == b""


def test_input_from_a_descriptor(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG)
    got = bytearray()
    with (tmp_path / "file").open("rb") as file, agent.exec(["cat"], streams=Wants(input=True)) as running:
        assert running.run(lambda stream, data: got.extend(data), file.fileno()) == (0, 0)
    assert got == BIG


def test_input_that_nobody_takes(agent: Agent) -> None:
    assert agent.run(["true"], BIG * 4).outcome == (0, 0)
    assert agent.run(["sh", "-c", "exec <&-; sleep 0.1; echo closed"], BIG).output == b"closed\n"


def test_a_signal_does_not_wait_behind_input(agent: Agent) -> None:
    with agent.exec(["sleep", "100"], streams=Wants(input=True)) as running:
        timer = threading.Timer(0.2, running.signal, (signal.SIGTERM,))
        timer.start()
        assert running.run(lambda stream, data: None, BIG) == (143, 15)
        timer.join()


def test_who_does_not_read_holds_it_up(agent: Agent, served: HostAgent) -> None:
    """The agent keeps little of what nobody takes, and nothing is lost."""
    total, slept = 0, False

    def slowly(stream: int, data: bytes) -> None:
        nonlocal total, slept
        if not slept:
            time.sleep(0.3)
            slept = True
            assert served.resident() < 1 << 20
        total += len(data)

    with agent.exec(["head", "-c", "30000000", "/dev/zero"]) as running:
        assert running.run(slowly) == (0, 0)
    assert total == 30_000_000


def test_streams_that_nobody_wants(agent: Agent) -> None:
    with agent.exec(["sh", "-c", "echo x; cat; exit 5"], streams=Wants(output=False, errors=False)) as running:
        assert running.run(lambda stream, data: pytest.fail("it has no output")) == (5, 0)


def test_an_output_that_another_process_keeps_open_is_not_awaited_for_long(agent: Agent) -> None:
    begun = time.monotonic()
    done = agent.run(["sh", "-c", "sleep 30 & echo $!"])
    assert done.outcome == (0, 0)
    assert 0.5 < time.monotonic() - begun < 10
    os.kill(int(done.output), signal.SIGKILL)


@pytest.mark.parametrize(
    ("user", "uid", "gid", "home"),
    [
        ("", 0, 0, "/root"),
        ("daemon", 1, 1, "/usr/sbin"),
        ("1", 1, 1, "/usr/sbin"),
        ("daemon:sys", 1, 3, "/usr/sbin"),
        ("65533", 65533, 0, "/"),
        ("65533:65532", 65533, 65532, "/"),
    ],
)
def test_it_runs_as_a_user(agent: Agent, user: str, uid: int, gid: int, home: str) -> None:
    script = "id -u; id -g; id -G; echo $HOME; cd /; : </dev/stdin"
    lines = said(agent, "sh", "-c", script, user=user).decode().split("\n")
    assert lines[:2] == [str(uid), str(gid)]
    assert lines[3] == home


def test_groups_that_list_the_user(agent: Agent) -> None:
    import grp

    listed = {entry.gr_gid for entry in grp.getgrall() if "root" in entry.gr_mem}
    assert {int(word) for word in said(agent, "id", "-G").split()} == {0, *listed}


def test_where_it_runs_and_what_it_is_told(agent: Agent, tmp_path: Path) -> None:
    with agent.exec(["sh", "-c", "pwd; echo $A$HOME; umask"], directory=str(tmp_path), environment=["A=1", "HOME=/h"]) as running:
        got = bytearray()
        running.run(lambda stream, data: got.extend(data))
    assert got.decode().split() == [str(tmp_path), "1/h", "0022"]
    assert said(agent, "env").decode().split() == [*ENVIRONMENT, "HOME=/root"]


def test_it_inherits_nothing(agent: Agent) -> None:
    script = "ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o sid= -p $$ | tr -d ' '; echo $$"
    descriptors, blocked, ignored, session, own = said(agent, "sh", "-c", script).decode().splitlines()
    assert int(descriptors) == 4
    assert blocked.split()[1] == ignored.split()[1] == "0" * 16
    assert session == own


@pytest.mark.parametrize(
    ("words", "how", "error", "says"),
    [
        (["no-such-program"], {}, CommandNotFoundError, "no such program"),
        (["/no/such"], {}, CommandNotFoundError, "no such program"),
        ([""], {}, CommandNotFoundError, "no such program"),
        (["/etc/passwd"], {}, CommandRefusedError, "Permission denied"),
        (["/etc"], {}, CommandRefusedError, "Permission denied"),
        (["passwd"], {"environment": ["PATH=/etc"]}, CommandRefusedError, "Permission denied"),
        (["true"], {"directory": "/nowhere"}, CommandNotFoundError, "no directory '/nowhere'"),
        (["true"], {"user": "nobody-at-all"}, CommandNotFoundError, "no user or group 'nobody-at-all'"),
        (["true"], {"user": "root:nobody-at-all"}, CommandNotFoundError, "no user or group"),
        (["x" * 5000], {}, CommandRefusedError, "cannot be executed"),
    ],
)
def test_what_cannot_be_started(agent: Agent, words: list[str], how: dict[str, object], error: type[GasangError], says: str) -> None:
    with pytest.raises(error, match=says) as told:
        agent.exec(words, **how)  # type: ignore[arg-type]
    assert told.value.exit_code == (127 if error is CommandNotFoundError else 126)


def test_a_user_may_not_do_what_root_may(agent: Agent) -> None:
    with pytest.raises(CommandRefusedError):
        agent.exec(["true"], user="daemon", directory="/root")


def in_terminal(agent: Agent, script: str, meanwhile: Callable[[bytes, object], None] = lambda got, running: None) -> tuple[bytes, int]:
    """What a script writes to its terminal of 100 times 30, and its code; `meanwhile` is told of all that came, and the command."""
    got = bytearray()
    with agent.exec(["sh", "-c", script], terminal=WindowSize(100, 30)) as running:

        def take(stream: int, data: bytes) -> None:
            assert stream == STDOUT
            got.extend(data)
            meanwhile(bytes(got), running)

        outcome = running.run(take)
    return bytes(got), outcome.code


def test_a_terminal(agent: Agent) -> None:
    got, code = in_terminal(agent, "stty size; tty; test -t 0 && test -t 1 && test -t 2 && echo yes >/dev/tty; exit 3")
    lines = got.decode().split("\r\n")
    assert lines[0] == "30 100"
    assert lines[1].startswith("/dev/pts/")
    assert (lines[2], code) == ("yes", 3)


def test_a_terminal_is_resized(agent: Agent) -> None:
    def answer(got: bytes, running: object) -> None:
        if got == b"ready\r\n":
            running.resize(WindowSize(40, 20))  # type: ignore[attr-defined]

    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    got, code = in_terminal(agent, script, answer)
    assert (got.split(), code) == ([b"ready", b"20", b"40"], 0)


def test_keys_reach_a_terminal(agent: Agent) -> None:
    read, write = os.pipe()
    got = bytearray()

    def take(stream: int, data: bytes) -> None:
        fresh = b"ready" in data
        got.extend(data)
        if fresh:
            os.write(write, b"\x03")

    script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done"
    with agent.exec(["sh", "-c", script], terminal=WindowSize(80, 24)) as running:
        assert running.run(take, read) == (7, 0)
    os.close(read)
    os.close(write)
    assert b"caught" in got


def test_a_terminal_hangs_up_with_its_host(agent: Agent, tmp_path: Path) -> None:
    mark, ready = tmp_path / "mark", tmp_path / "ready"
    os.mkfifo(mark)
    script = f"trap 'echo hung up >{mark}; exit' HUP; : >{ready}; while :; do sleep 0.05; done"
    running = agent.exec(["sh", "-c", script], terminal=WindowSize(80, 24))
    eventually(ready.exists)
    running.close()
    with mark.open() as told:
        assert told.read() == "hung up\n"


def test_a_command_outlives_its_host_with_closed_streams(agent: Agent, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    running = agent.exec(["sh", "-c", f"cat; echo over >{mark}"], streams=Wants(input=True))
    running.close()
    with mark.open() as told:
        assert told.read() == "over\n"


def test_tar_in_and_out(agent: Agent, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder").mkdir(parents=True)
    target.mkdir()
    (source / "folder" / "file").write_bytes(BIG)
    (source / "folder" / "-link").symlink_to("file")
    (source / "folder" / "file").chmod(0o640)
    os.chown(source / "folder" / "file", 1234, 4321)
    archive = bytearray()
    agent.copy_out(str(source / "folder"), archive.extend)
    agent.copy_in(str(target), bytes(archive))
    status = (target / "folder" / "file").stat()
    assert (target / "folder" / "file").read_bytes() == BIG
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 4321)
    assert os.readlink(target / "folder" / "-link") == "file"
    with pytest.raises(GasangError, match="nowhere"):
        agent.copy_out("/nowhere", archive.extend)
    with pytest.raises(GasangError, match="nowhere"):
        agent.copy_in("/nowhere", bytes(archive))
    with pytest.raises(GasangError, match="tar"):
        agent.copy_in(str(target), b"no tar at all" * 100)
