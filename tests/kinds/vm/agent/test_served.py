"""The agent itself: how it is, who it hangs up on, and that nothing a host sends ends it."""

from __future__ import annotations

import random
import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gasang.core.errors import GasangError
from gasang.kinds.vm.agent import protocol
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.guest.state import MOST_SESSIONS
from gasang.kinds.vm.agent.protocol import (
    EXEC,
    HEALTH,
    HELLO,
    INPUT,
    MESSAGES,
    MOST_EXEC,
    MOST_WORDS,
    RESIZE,
    SIGNAL,
    TERMINAL,
    WANT_ERRORS,
    WANT_INPUT,
    WINDOW,
)
from gasang.kinds.vm.agent.wire import HEADER, packed
from support.agents import HostAgent, host_agent

EMULATOR = "qemu-riscv64-static"


def hello(served: HostAgent) -> None:
    """It still answers."""
    agent = served.client()
    agent.hello()
    assert agent.pid == served.pid


def exec_of(*words: bytes, flags: int = 0, arguments: int = -1, variables: int = 0) -> bytes:
    """An EXEC that may break rules: directory, user and arguments."""
    count = len(words) - 2 if arguments < 0 else arguments
    return packed(EXEC, struct.pack("<IHHII", flags, 0, 0, count & 0xFFFF_FFFF, variables & 0xFFFF_FFFF) + b"".join(words))


def test_how_it_is(served: HostAgent) -> None:
    health = served.client().health()
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert health.memory == int(meminfo["MemTotal"].split()[0]) << 10
    available = int(meminfo["MemAvailable"].split()[0]) << 10
    assert abs(health.available - available) < health.memory // 4
    assert 0 < health.free < health.memory
    assert abs(health.uptime - float(Path("/proc/uptime").read_text().split()[0])) < 60
    assert all(0 <= load < 10000 for load in health.loads)
    assert health.processes > 1
    assert health.sessions == 1


def test_it_is_small(served: HostAgent) -> None:
    assert served.resident() < 1 << 20


@pytest.mark.parametrize("what", ["set_time", "set_name", "new_identity", "shutdown", "tell_network", "grow"])
def test_the_machine_is_not_its_own_here(served: HostAgent, what: str) -> None:
    name = socket.gethostname()
    words: dict[str, list[object]] = {"grow": ["/", 1], "tell_network": [[bytes(16)]], "set_name": ["other"], "new_identity": ["other"]}
    given = words.get(what, [])
    with pytest.raises(GasangError, match="Operation not permitted"):
        getattr(served.client(), what)(*given)
    assert socket.gethostname() == name


def test_many_at_once_and_no_more(served: HostAgent) -> None:
    with ExitStack() as open_ones:
        held = [open_ones.enter_context(served.raw()) for _ in range(MOST_SESSIONS)]
        for each in held:
            each.sendall(packed(HELLO))
            assert len(each.recv(100)) == 32
        with served.raw() as one_more:
            assert one_more.recv(1) == b""
    assert served.comes_to_rest()
    hello(served)


def test_commands_leave_nothing(served: HostAgent) -> None:
    agent = served.client()
    for _ in range(100):
        agent.run(["true"], b"x")
    assert served.comes_to_rest()
    assert len(Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()) == 1  # the spare


SLEEPS = (b"\0", b"\0", b"sleep\0", b"1\0")
WRONG = {
    "no magic": b"\0" * 16,
    "another version": HEADER.pack(protocol.MAGIC, 2, HELLO, 0, 0),
    "no such kind": HEADER.pack(protocol.MAGIC, 1, 31, 0, 0),
    "a kind beyond the table": HEADER.pack(protocol.MAGIC, 1, 0xFFFF, 0, 0),
    "an answer": HEADER.pack(protocol.MAGIC, 1, protocol.ANSWER, 0, 0),
    "too long": HEADER.pack(protocol.MAGIC, 1, EXEC, MOST_EXEC + 1, 0),
    "as long as can be": HEADER.pack(protocol.MAGIC, 1, EXEC, 0xFFFF_FFFF, 0),
    "too short": packed(EXEC, bytes(19)),
    "input without a command": packed(INPUT, b"x"),
    "a signal without a command": packed(SIGNAL, value=9),
    "a size without a command": packed(RESIZE, value=9),
    "no arguments": exec_of(b"\0", b"\0", b"\0", b"\0", arguments=0),
    "fewer words than told": exec_of(b"\0", b"\0", b"true\0", arguments=2),
    "more words than told": exec_of(b"\0", b"\0", b"true\0", b"x\0", arguments=1),
    "words without an end": exec_of(b"\0", b"\0", b"true\0", b"x", arguments=1),
    "too many words": exec_of(b"\0", b"\0", *[b"\0"] * (MOST_WORDS + 1)),
    "more words than numbers": exec_of(b"\0", b"\0", b"true\0", arguments=-2, variables=3),
    "a flag that is none": exec_of(b"\0", b"\0", b"true\0", flags=1 << 9),
    "a terminal and errors": exec_of(b"\0", b"\0", b"true\0", flags=TERMINAL | WANT_ERRORS),
    "two commands": exec_of(*SLEEPS) * 2,
    "a request beside a command": exec_of(*SLEEPS) + packed(HEALTH),
    "a signal that is none": exec_of(*SLEEPS) + packed(SIGNAL, value=65),
    "input without credit": exec_of(*SLEEPS, flags=WANT_INPUT) + packed(INPUT, bytes(32768)) * (WINDOW // 32768 + 4),
    "input after its end": exec_of(*SLEEPS, flags=WANT_INPUT) + packed(INPUT) + packed(INPUT, b"x"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_who_breaks_a_rule_is_hung_up_on(served: HostAgent, wrong: bytes) -> None:
    with served.raw() as connection:
        connection.sendall(wrong)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    hello(served)


def test_messages_in_pieces_and_together(served: HostAgent) -> None:
    with served.raw() as connection:
        for byte in packed(HELLO) + packed(HEALTH):
            connection.sendall(bytes([byte]))
        connection.sendall(packed(HELLO) * 3000)
        left = 32 * 3001 + 16 + protocol.HEALTH_SIZE
        while left:
            left -= len(connection.recv(65536))


def test_a_host_that_asks_and_does_not_listen_costs_little(served: HostAgent) -> None:
    with served.raw() as connection:
        connection.setblocking(False)
        question = packed(HELLO) * 4096
        try:
            while True:
                connection.send(question)
        except BlockingIOError:
            hello(served)
            assert served.resident() < 1 << 20


@pytest.mark.parametrize("seed", range(20))
def test_noise(served: HostAgent, seed: int) -> None:
    """Whatever comes, others are served. Nothing harmful can be hit: programs are words that nobody has."""
    chance = random.Random(seed)
    for _ in range(20):
        with served.raw() as connection:
            data = b"".join(_noise(chance) for _ in range(chance.randrange(1, 6)))
            try:
                connection.sendall(data)
                if chance.random() < 0.5:
                    connection.shutdown(socket.SHUT_WR)
                connection.settimeout(0.02)
                connection.recv(65536)
            except OSError:
                continue
    hello(served)


def _noise(chance: random.Random) -> bytes:
    message = chance.choice([message for message in MESSAGES if message.kind != protocol.SHUTDOWN])
    content = chance.randbytes(chance.choice([0, 1, 8, 20, 112, 300]))
    header = bytearray(packed(message.kind, content, chance.randrange(-100, 100)))
    if message.kind == EXEC and chance.random() < 0.7:
        header = bytearray(exec_of(b"\0", b"\0", b"no-such-program-at-all\0", flags=chance.randrange(64)))
    if chance.random() < 0.3:
        header[chance.randrange(len(header))] = chance.randrange(256)
    return bytes(header) if chance.random() < 0.9 else chance.randbytes(40)


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """A root directory with almost nothing."""
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "dev" / "null").touch()
    return root


def test_it_lives_in_its_root_and_has_its_tool_there(small_root: Path, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    (small_root / "there").write_text("content")
    with host_agent(tmp_path, root=str(small_root), tool=busybox) as served:
        agent = served.client()
        archive = bytearray()
        agent.copy_out("/there", archive.extend)
        agent.copy_in("/dev", bytes(archive))
        assert (small_root / "dev" / "there").read_text() == "content"
        assert agent.run(["stat", "-c", "%s", "/there"], tool=True).output == b"7\n"
        with pytest.raises(GasangError, match="no such program"):
            agent.run(["sh", "-c", "true"])
        with pytest.raises(GasangError, match="no user or group 'daemon'"):
            agent.run(["sh"], user="daemon")


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Agent]:
    """The agent for riscv64, on an emulated processor."""
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        pytest.skip(f"needs {EMULATOR} (Debian: qemu-user-static)")
    with host_agent(tmp_path, family="riscv64", runner=(emulator,)) as served:
        yield served.client()


def test_the_one_for_riscv64_does_the_same(foreign: Agent) -> None:
    foreign.hello()
    assert foreign.health().memory > 0
    done = foreign.run(["sh", "-c", "cat; echo err >&2; exit 42"], b"in")
    assert done == ((42, 0), b"in", b"err\n")
    with pytest.raises(GasangError, match="no such program"):
        foreign.exec(["no-such-program"])


PASSWD = """\
# no line of passwd's
root:x:0:0:root:/home/of/root:/bin/sh
:x:5:5::/:
short
x:y
odd:x:-1:1::/odd:
far:x:4294967295:1::/far:
big:x:99999999999:1::/big:
bare:x:7:8
7:x:70:80:a name of digits:/seven:
ann:x:1000:100::/home/ann:/bin/sh
ann:x:1:1::/second:
last:x:12:34::/last"""
GROUP = "root:x:0:\nusers:x:100:\nwheel:x:10:bob,ann\nann-not:x:11:annie,xann,ann2\nfull:x:20:ann,\n:x:\nstaff:x:50:last"


@pytest.fixture
def odd_root(small_root: Path, tmp_path: Path) -> Iterator[Agent]:
    """An agent whose root has accounts that a hostile guest could have written, and busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    for folder in ("bin", "etc"):
        (small_root / folder).mkdir()
    shutil.copy(busybox, small_root / "bin" / "busybox")
    for name in ("sh", "id"):
        (small_root / "bin" / name).symlink_to("busybox")
    (small_root / "etc" / "passwd").write_text(PASSWD)
    (small_root / "etc" / "group").write_text(GROUP)
    with host_agent(tmp_path, root=str(small_root), tool=busybox) as served:
        yield served.client()


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0 0 /home/of/root"),
        ("ann", "1000 100 10,20,100 /home/ann"),
        ("1000", "1000 100 10,20,100 /home/ann"),
        ("ann:wheel", "1000 10 10 /home/ann"),
        ("ann:12345", "1000 12345 12345 /home/ann"),
        ("7", "70 80 80 /seven"),
        ("bare", "7 8 8 /"),
        ("last", "12 34 34,50 /last"),
        ("8:staff", "8 50 50 /"),
        ("root:0", "0 0 0 /home/of/root"),
        ("odd", None),
        ("far", None),
        ("big", None),
        ("short", None),
        ("x", None),
        ("4294967295", None),
        ("-1", None),
        ("ann:", None),
        ("ann:nobody", None),
        (":wheel", "0 10 10 /home/of/root"),
        ("ann:100:7", None),
    ],
)
def test_accounts_that_a_guest_may_have_written(odd_root: Agent, user: str, expected: str | None) -> None:
    script = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ',') $HOME"
    if expected is None:
        with pytest.raises(GasangError, match="no user or group"):
            odd_root.run(["sh", "-c", script], user=user)
        return
    busybox_says = odd_root.run(["sh", "-c", script.replace("tr", "busybox tr").replace("sort", "busybox sort")], user=user)
    uid, gid, groups, home = busybox_says.output.decode().split()
    assert f"{uid} {gid} {groups.rstrip(',')} {home}" == expected


def test_accounts_that_are_as_long_as_can_be(odd_root: Agent, small_root: Path) -> None:
    """What is beyond the first megabyte is not looked at, and nothing else happens."""
    with (small_root / "etc" / "passwd").open("a") as file:
        file.write("\n" + ":" * (1 << 20) + "\nbeyond:x:1:1::/:\n")
    with (small_root / "etc" / "group").open("w") as file:
        file.writelines(f"g{number}:x:{number}:ann\n" for number in range(1000, 1200))
    assert len(odd_root.run(["id", "-G"], user="ann").output.split()) == 65
    with pytest.raises(GasangError, match="no user or group"):
        odd_root.run(["id"], user="beyond")
