"""The process: started when told, its end told and recorded, its failures named; nothing left behind."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import time
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.kinds.container import layout
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import RequestRefused, Supervisor
from gasang.kinds.container.supervisor.settings import Settings
from gasang.kinds.container.supervisor.status import read_exit, read_start
from support.supervised import Client, Folder, eventually, plan_of, python, shell


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_codes(folder: Folder, code: int) -> None:
    ended = folder.run(shell(f"exit {code}"))
    assert (ended.kind, ended.state, ended.code, ended.signal, ended.failed) == (protocol.EXITED, "exited", code, 0, None)
    recorded = read_exit(folder.path)
    assert recorded is not None
    assert (recorded.code, recorded.started, recorded.finished) == (code, ended.started, ended.finished)
    assert 0 < recorded.started <= recorded.finished


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_signals_that_end_it(folder: Folder, number: int) -> None:
    made = folder.launch(shell("echo up; exec sleep 60"))
    made.start()
    client = Client(made)
    made.signal(number)
    ended = made.wait(10)
    assert (ended.code, ended.signal) == (128 + number, number)
    client.rest()


def test_nothing_runs_before_the_start(folder: Folder, tmp_path: Path) -> None:
    made = folder.launch(shell(f"echo > {tmp_path}/ran"))
    assert made.status().state == "waiting"
    with pytest.raises(RequestRefused) as refused:
        made.signal(15)
    assert refused.value.number == errno.ESRCH
    assert not (tmp_path / "ran").exists()
    assert read_start(tmp_path) is None
    made.start()
    made.wait(10)
    assert (tmp_path / "ran").exists()
    started = read_start(tmp_path)
    assert started is not None
    assert started.pid > 0


def test_a_process_that_stops_in_its_plan(folder: Folder, tmp_path: Path) -> None:
    made = folder.launch(shell(f"echo > {tmp_path}/ran", stop=True), start_at_once=True)
    status = made.status()
    assert status.state == "created"
    assert Path(f"/proc/{status.pid}").exists()
    assert not (tmp_path / "ran").exists()
    made.start()
    kinds = [made.wait(10).kind]
    assert kinds == [protocol.EXITED]
    assert (tmp_path / "ran").exists()
    with pytest.raises(StateError):
        made.start()


def test_a_process_killed_where_it_stopped(folder: Folder) -> None:
    made = folder.launch(shell("true", stop=True), start_at_once=True)
    made.signal(signal.SIGKILL)
    ended = made.wait(10)
    assert (ended.code, ended.started) == (137, 0)


def test_started_only_once(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    made.start()
    with pytest.raises(RequestRefused) as refused:
        made.start()
    assert refused.value.number == errno.EALREADY
    made.close_stdin()
    assert made.wait(10).code == 0


def test_news_of_start_and_end(folder: Folder) -> None:
    made = folder.launch(shell("read x; exit 4"), open_stdin=True)
    other = Supervisor.connect(folder.path)
    other.subscribe()
    made.start()
    kinds: list[int] = []
    eventually(lambda: kinds.extend(news.kind for news in other.news()) or protocol.STARTED in kinds)
    made.close_stdin()
    assert made.wait(10).code == other.wait(10).code == 4
    other.close()


def test_news_without_waiting(folder: Folder) -> None:
    """As an event loop has it: readable, news, the end."""
    made = folder.launch(shell("exit 3"))
    made.send(protocol.START)
    kinds: list[int] = []
    waiting = select.poll()
    waiting.register(made.fileno(), select.POLLIN)
    while not made.ended:
        assert waiting.poll(10_000)
        kinds += [news.kind for news in made.news()]
    assert kinds == [protocol.STARTED, protocol.START, protocol.EXITED]
    assert list(made.news()) == []
    made.reap()


def test_subscribing_after_the_end(folder: Folder) -> None:
    """A client that does not read keeps the supervisor there."""
    made = folder.launch(shell("head -c 300000 /dev/zero"), log="")
    client = Client(made)
    made.start()
    assert made.wait(10).code == 0
    other = Supervisor.connect(folder.path)
    other.subscribe()
    assert [news.kind for news in other.news()] == [protocol.EXITED]
    assert client.rest() == bytes(300_000)
    other.close()


def test_a_program_that_is_missing(folder: Folder) -> None:
    made = folder.launch(plan_of("/no/such/program"))
    answer = made.start()
    assert answer.failed is not None
    assert answer.failed[0] == layout.IN_CHILD
    assert answer.failed[2] == errno.ENOENT
    ended = made.wait(10)
    assert (ended.code, ended.failed, ended.started) == (127, answer.failed, 0)
    recorded = read_exit(folder.path)
    assert recorded is not None
    assert recorded.failed == answer.failed
    assert read_start(folder.path) is None


def test_a_plan_that_is_no_plan(folder: Folder) -> None:
    made = folder.launch(bytes(4096))
    assert made.start().failed == (layout.IN_SPAWN, 0, errno.EINVAL)
    assert made.wait(10).code == 127


def test_leaving_without_a_start(folder: Folder) -> None:
    made = folder.launch(shell("true"))
    made.leave()
    made.reap()
    assert read_exit(folder.path) is None
    assert not (folder.path / "control").exists()
    with pytest.raises(StateError):
        made.status()


def test_a_running_one_does_not_leave(folder: Folder) -> None:
    made = folder.launch(shell("exec sleep 60"))
    made.start()
    with pytest.raises(RequestRefused) as refused:
        made.leave()
    assert refused.value.number == errno.EBUSY


def test_sigterm_is_passed_on(folder: Folder) -> None:
    made = folder.launch(shell("trap 'echo asked; exit 9' TERM; echo up; while :; do sleep 0.05; done"))
    client = Client(made)
    made.start()
    client.until(b"up\n")
    assert made.process is not None
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGALRM):
        os.kill(made.process, number)
    os.kill(made.process, signal.SIGTERM)
    assert made.wait(10).code == 9
    assert client.rest() == b"asked\n"
    made.reap()
    assert folder.text() == "up\nasked\n"


def test_sigterm_before_the_start_ends_it(folder: Folder) -> None:
    made = folder.launch(shell("true"))
    assert made.process is not None
    os.kill(made.process, signal.SIGTERM)
    made.reap()
    assert read_exit(folder.path) is None


def test_the_process_is_alone(folder: Folder) -> None:
    """It has its three streams and no other descriptor, no blocked and no ignored signal."""
    folder.run(python("import os; print(sorted(os.listdir('/proc/self/fd'))[:-1]); print(open('/proc/self/status').read())"))
    text = folder.text()
    assert text.startswith("['0', '1', '2']\n")
    masks = dict(re.findall(r"(Sig(?:Blk|Ign)):\t(\w+)", text))
    assert int(masks["SigBlk"], 16) == 0
    ignored_by_python = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert int(masks["SigIgn"], 16) & ~ignored_by_python == 0


def test_descriptors_for_the_plan(folder: Folder) -> None:
    here, there = os.pipe()
    made = folder.launch(python("import os; os.write(8, b'handed')", extra=1), descriptors=(there,))
    os.close(there)
    made.start()
    made.wait(10)
    assert os.read(here, 100) == b"handed"
    assert os.read(here, 100) == b"", "the supervisor still has it"
    os.close(here)


def test_orphans_are_buried(folder: Folder) -> None:
    made = folder.launch(shell("(sh -c 'exit 3' & echo $!); (true & echo $!); read x"), open_stdin=True)
    client = Client(made, stdin=True)
    made.start()
    assert made.process is not None
    said = client.until(b"\n")
    orphans = (said if said.count(b"\n") == 2 else said + client.until(b"\n")).split()
    eventually(lambda: not any(Path(f"/proc/{orphan.decode()}").exists() for orphan in orphans))
    assert len(Path(f"/proc/{made.process}/task/{made.process}/children").read_text().split()) == 1
    made.close_stdin()
    made.wait(10)
    client.rest()


# ---------------------------------------------------------------------- output that stays open


def test_output_is_awaited_after_the_end(folder: Folder) -> None:
    ended = folder.run(shell("(sleep 0.3; echo late) & echo early"), linger=10.0)
    assert ended.code == 0
    assert folder.text() == "early\nlate\n"


def test_but_not_for_ever(folder: Folder) -> None:
    begun = time.monotonic()
    made = folder.launch(shell("sleep 30 & printf piece; echo $! >&2"), linger=0.2)
    client = Client(made)
    made.start()
    assert made.wait(10).code == 0
    assert time.monotonic() - begun < 5
    raw = client.rest()
    made.reap()
    assert folder.text() == "piece"
    os.kill(int(raw.replace(b"piece", b"")), signal.SIGKILL)


# ---------------------------------------------------------------------- deaths


def test_the_next_daemon_takes_over(folder: Folder) -> None:
    """The first connection and its process's Supervisor are gone; the container and its output are not."""
    made = folder.launch(shell("read x; echo got $x; exit 5"), open_stdin=True)
    made.start()
    process = made.process
    made.close()
    assert process is not None
    with Supervisor.connect(folder.path) as again:
        again.process = process
        assert again.status().state == "running"
        again.subscribe()
        client = Client(again, stdin=True)
        client.socket.sendall(b"word\n")
        assert again.wait(10).code == 5
        assert client.rest() == b"got word\n"
        again.reap()
    made.process = None
    assert folder.text() == "got word\n"


def test_an_end_that_nobody_was_there_for(folder: Folder) -> None:
    made = folder.launch(shell("echo out; exit 6"))
    made.send(protocol.START)
    made.close()
    recorded = eventually(lambda: read_exit(folder.path))
    assert recorded.code == 6
    assert folder.text() == "out\n"
    made.reap()
    with pytest.raises(NotFoundError):
        Supervisor.connect(folder.path)


def test_a_killed_supervisor(folder: Folder) -> None:
    """The process dies with it; the folder says that it was started and did not end."""
    made = folder.launch(shell("exec sleep 60"))
    made.start()
    started = read_start(folder.path)
    assert started is not None
    assert made.process is not None
    os.kill(made.process, signal.SIGKILL)
    with pytest.raises(StateError, match=r"ended without a record: it was killed; remove what is left"):
        made.wait(10)
    made.reap()
    eventually(lambda: not Path(f"/proc/{started.pid}").exists())
    assert read_exit(folder.path) is None
    with pytest.raises(StateError, match="it was killed"):
        Supervisor.connect(folder.path)


def test_one_supervisor_a_folder(folder: Folder) -> None:
    made = folder.launch(shell("exec sleep 60"))
    with pytest.raises(StateError, match="another supervisor has been started there"):
        Supervisor.launch(Settings(), shell("true"), folder.path)
    assert made.status().state == "waiting"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StateError, match="the folder is gone"):
        Supervisor.launch(Settings(), shell("true"), tmp_path / "nothing")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_nothing_leaks_here(folder: Folder) -> None:
    folder.run(shell("true"))
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        made = folder.launch(shell("true"))
        made.start()
        made.wait(10)
        made.reap()
        made.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert sorted(path.name for path in folder.path.iterdir()) == ["exit", "started", "test-json.log"]


# ---------------------------------------------------------------------- out of memory


@pytest.mark.parametrize(
    ("before", "after", "oom"),
    [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        (
            "low 0\nhigh 0\noom 1\noom_kill 7\noom_group_kill 0\n",
            "low 0\nhigh 0\noom 4\noom_kill 7\noom_group_kill 0\n",
            False,
        ),
        ("", "", False),
        ("oom_kill", "oom_kill ", False),
    ],
)
def test_kills_for_want_of_memory(folder: Folder, tmp_path: Path, before: str, after: str, oom: bool) -> None:
    counts = tmp_path / "memory.events"
    counts.write_text(before)
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True, oom_file=str(counts))
    made.start()
    counts.write_text(after)
    made.close_stdin()
    assert made.wait(10).oom is oom


# ---------------------------------------------------------------------- settings and records


@pytest.mark.parametrize(
    "settings", [{"log": "a/b"}, {"log": "exit"}, {"log": ".."}, {"log": "x" * 64}, {"oom_file": "/" * 512}, {"log": "a\0b"}]
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, str]) -> None:
    with pytest.raises(BadInputError):
        Supervisor.launch(Settings(**settings), b"", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "magic", "state", "kind", "folder", "link"])
def test_records_that_are_damaged(folder: Folder, damage: str) -> None:
    folder.run(shell("true"))
    path = folder.path / "exit"
    raw = bytearray(path.read_bytes())
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        path.symlink_to("/etc/passwd")
    else:
        raw[0] ^= damage == "magic"
        raw[16] ^= 0x40 * (damage == "state")
        raw[6] ^= damage == "kind"
        path.write_bytes({"empty": b"", "cut": bytes(raw[:-1]), "longer": bytes(raw) + b"x"}.get(damage, bytes(raw)))
    with pytest.raises(BadInputError, match=f"record {path}"):
        read_exit(folder.path)
