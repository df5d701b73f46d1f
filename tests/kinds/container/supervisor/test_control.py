"""The control socket: who may connect, what malformed packets do (nothing), and that nothing is left open by any of it."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import random
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, StateError
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import RequestRefused, Supervisor
from gasang.kinds.container.supervisor.state import MOST_CONNECTIONS
from gasang.kinds.container.supervisor.status import STATUS_SIZE, read_status
from gasang.native import ctype_of
from support.privileges import needs_root
from support.supervised import Client, Folder, eventually, plan_of, shell

REQUEST = ctype_of(protocol.Request)
SIZE = ctypes.sizeof(REQUEST)


def connected(folder: Folder) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.connect(str(folder.path / "control"))
    made.settimeout(10)
    return made


def request(kind: int, tag: int = 1, **fields: int) -> bytes:
    return bytes(REQUEST(magic=protocol.MESSAGE_MAGIC, version=protocol.VERSION, kind=kind, tag=tag, **fields))


def descriptors(supervisor: Supervisor) -> list[str]:
    return sorted(os.listdir(f"/proc/{supervisor.process}/fd"), key=int)


@pytest.fixture
def idle(folder: Folder) -> Iterator[tuple[Folder, Supervisor]]:
    """A supervisor of a process that does nothing."""
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    made.start()
    before = descriptors(made)
    yield folder, made
    eventually(lambda: len(descriptors(made)) == len(before), 5)  # their numbers change when the log is opened anew
    made.close_stdin()
    assert made.wait(10).code == 0


def test_answers_carry_kind_and_tag(idle: tuple[Folder, Supervisor]) -> None:
    with connected(idle[0]) as control:
        for tag in (7, 0xFFFF_FFFF):
            control.send(request(protocol.STATUS, tag))
            answer = read_status(control.recv(1000), "x")
            assert (answer.kind, answer.tag, answer.error, answer.state) == (protocol.STATUS, tag, 0, "running")


@pytest.mark.parametrize(
    "packet",
    [
        b"x",
        request(protocol.STATUS)[:-1],
        request(protocol.STATUS) + b"x",
        bytes(SIZE),
        b"\xff" * SIZE,
        bytes(100_000),
        bytes(REQUEST(magic=protocol.MESSAGE_MAGIC, version=protocol.VERSION + 1, kind=protocol.STATUS)),
        bytes(REQUEST(magic=protocol.MESSAGE_MAGIC ^ 1, version=protocol.VERSION, kind=protocol.STATUS)),
    ],
    ids=lambda packet: f"{len(packet)}-{packet[:7].hex()}",
)
def test_malformed_packets_end_their_connection(idle: tuple[Folder, Supervisor], packet: bytes) -> None:
    with connected(idle[0]) as control:
        control.send(packet)
        answer = read_status(control.recv(1000), "x")
        assert (answer.kind, answer.error) == (0, -errno.EPROTO)
        assert control.recv(1000) == b""
    assert idle[1].status().state == "running"


@pytest.mark.parametrize(
    ("packet", "number"),
    [
        (request(0), errno.EPROTO),
        (request(999), errno.EPROTO),
        (request(protocol.STARTED), errno.EPROTO),
        (request(protocol.ATTACH), errno.EBADF),
        (request(protocol.SIGNAL, first=65), errno.EINVAL),
        (request(protocol.SIGNAL, first=-1), errno.EINVAL),
        (request(protocol.SIGNAL, first=1 << 40), errno.EINVAL),
        (request(protocol.RESIZE, first=70_000), errno.EINVAL),
        (request(protocol.RELEASE, first=5), errno.ESRCH),
    ],
)
def test_requests_that_are_refused(idle: tuple[Folder, Supervisor], packet: bytes, number: int) -> None:
    with connected(idle[0]) as control:
        for _ in range(2):
            control.send(packet)
            assert read_status(control.recv(1000), "x").error == -number


@pytest.mark.parametrize("fields", [{"flags": 256}, {"flags": 0xFFFF_FFFF}, {"key_count": 17}, {"key_count": 0xFFFF_FFFF}])
def test_attachments_that_are_refused(idle: tuple[Folder, Supervisor], fields: dict[str, int]) -> None:
    with connected(idle[0]) as control:
        here, there = socket.socketpair()
        with here, there:
            socket.send_fds(control, [request(protocol.ATTACH, **fields)], [there.fileno()])
            assert read_status(control.recv(1000), "x").error == -errno.EINVAL
    assert idle[1].status().clients == 0


@pytest.mark.parametrize("kind", [protocol.STATUS, protocol.ATTACH, protocol.SIGNAL, 77])
@pytest.mark.parametrize("count", [1, 2, 250])
def test_descriptors_that_were_not_asked_for(idle: tuple[Folder, Supervisor], kind: int, count: int) -> None:
    """They are closed, all of them, also those beyond the one that an attachment has."""
    before = descriptors(idle[1])
    with connected(idle[0]) as control:
        here, there = socket.socketpair()
        with here, there:
            socket.send_fds(control, [request(kind, first=-1)], [there.fileno()] * count)
            answer = read_status(control.recv(1000), "x")
            there.close()
            assert len(descriptors(idle[1])) == len(before) + 1 + (kind == protocol.ATTACH and not answer.error)
            if kind == protocol.ATTACH:
                assert idle[1].status().clients == 1


def test_descriptors_with_nonsense(idle: tuple[Folder, Supervisor]) -> None:
    here, there = socket.socketpair()
    with here, there, connected(idle[0]) as control:
        socket.send_fds(control, [b"nonsense"], [there.fileno()])
        assert control.recv(1000)


@pytest.mark.parametrize("target", ["file", "folder", "null", "pipe", "control"])
def test_odd_things_to_attach(idle: tuple[Folder, Supervisor], target: str, tmp_path: Path) -> None:
    """Whatever is attached, the supervisor goes on."""
    folder, made = idle
    client = Client(made, stdin=True)
    paths = {"file": folder.path / "exit.txt", "folder": folder.path, "null": Path("/dev/null")}
    if target == "file":
        paths["file"].write_text("typed\n")
    if target == "pipe":
        odd, other = os.pipe()
        os.close(odd)
        odd = other
    elif target == "control":
        with connected(folder) as control:  # the supervisor will read its own answers there
            odd = os.dup(control.fileno())
    else:
        odd = os.open(paths[target], os.O_RDONLY if target != "null" else os.O_RDWR)
    made.attach(odd, stdin=True)
    os.close(odd)
    client.socket.sendall(b"hello\n")
    assert b"hello\n" in client.until(b"hello\n")
    made.subscribe()
    client.socket.close()
    if target in ("null", "control"):
        for number in range(100):
            try:
                made.detach(number)
            except RequestRefused:
                continue


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_fuzz(idle: tuple[Folder, Supervisor], data: st.DataObject) -> None:
    """Random packets of the right size and version, with and without descriptors. START, SIGNAL and what ends input are left out."""
    harmless = [k for k in range(40) if k not in (protocol.SIGNAL, protocol.CLOSE_STDIN)]
    here, there = socket.socketpair()
    with connected(idle[0]) as control, here, there:
        for _ in range(data.draw(st.integers(1, 6))):
            number = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 40))
            packet = request(
                data.draw(st.sampled_from(harmless)),
                data.draw(st.integers(1, 2**32 - 1)),
                flags=data.draw(st.integers(0, 2**32 - 1)) & ~protocol.ENDS_STDIN,
                first=data.draw(number),
                second=data.draw(number),
                key_count=data.draw(st.integers(0, 20)),
            )
            count = data.draw(st.integers(0, 3))
            control.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [there.fileno()] * count))] if count else [])
            answer = read_status(control.recv(STATUS_SIZE + 1), "answer")
            assert answer.state == "running"
    assert idle[1].status().state == "running"


def test_random_bytes(idle: tuple[Folder, Supervisor]) -> None:
    chance = random.Random(5)
    for _ in range(200):
        with connected(idle[0]) as control:
            control.send(chance.randbytes(chance.choice([1, 8, SIZE - 1, SIZE, SIZE, SIZE + 1, 4096])))
            assert control.recv(1000)
    assert idle[1].status().state == "running"


# ---------------------------------------------------------------------- many, slow and foreign connections


def test_too_many_connections(idle: tuple[Folder, Supervisor]) -> None:
    controls = [connected(idle[0]) for _ in range(MOST_CONNECTIONS - 1)]
    for control in controls:
        control.send(request(protocol.STATUS))
        assert control.recv(1000)
    with connected(idle[0]) as another:
        assert another.recv(1000) == b"", "there is no place"
    controls.pop().close()

    def served() -> bool:
        with connected(idle[0]) as another:
            try:
                another.send(request(protocol.STATUS))
                return bool(another.recv(1000))
            except (BrokenPipeError, ConnectionResetError):
                return False

    eventually(served)
    for control in controls:
        control.close()


def test_a_connection_that_does_not_read(idle: tuple[Folder, Supervisor]) -> None:
    """It is hung up on when its answers do not fit any more; others are served meanwhile."""
    with connected(idle[0]) as control:
        control.setblocking(False)

        def hung_up() -> bool:
            try:
                control.send(request(protocol.STATUS))
            except BlockingIOError:
                select.select([], [control], [], 0.1)
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        while not hung_up():
            assert idle[1].status().state == "running"
        assert idle[1].status().state == "running"


def test_no_descriptors_left(idle: tuple[Folder, Supervisor]) -> None:
    """Who connects waits; the supervisor does not spin meanwhile, and serves them when it can."""
    folder, made = idle
    assert made.process is not None
    limits = resource.prlimit(made.process, resource.RLIMIT_NOFILE)
    free = next(number for number in range(1000) if str(number) not in descriptors(made))
    resource.prlimit(made.process, resource.RLIMIT_NOFILE, (free, limits[1]))
    with connected(folder) as control:
        control.send(request(protocol.STATUS))
        before = Path(f"/proc/{made.process}/stat").read_text().split()[13:15]
        time.sleep(0.4)
        spent = sum(map(int, Path(f"/proc/{made.process}/stat").read_text().split()[13:15])) - sum(map(int, before))
        assert spent <= 3
        resource.prlimit(made.process, resource.RLIMIT_NOFILE, limits)
        assert read_status(control.recv(1000), "x").state == "running"


@needs_root
def test_other_users_are_not_served(idle: tuple[Folder, Supervisor]) -> None:
    folder, _ = idle
    place = os.open(folder.path, os.O_RDONLY)
    (folder.path / "control").chmod(0o777)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.fchdir(place)
            os.setresuid(65534, 65534, 65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
                control.connect("control")
                control.send(request(protocol.STATUS))
                os.write(there, control.recv(1000) or b"closed")
        except (BrokenPipeError, ConnectionResetError):
            os.write(there, b"closed")
        finally:
            os._exit(0)
    os.close(there)
    os.close(place)
    os.waitpid(child, 0)
    assert os.read(here, 1000) in (b"closed", b"")
    os.close(here)


@needs_root
def test_a_socket_of_another_user_is_not_believed(tmp_path: Path) -> None:
    child_is_ready, ready = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as false:
        child = os.fork()
        if child == 0:
            os.chdir(tmp_path)
            os.chmod(".", 0o777)
            os.setresuid(65534, 65534, 65534)
            false.bind("control")
            false.listen(1)
            os.write(ready, b"x")
            time.sleep(10)
            os._exit(0)
        os.read(child_is_ready, 1)
        with pytest.raises(BadInputError, match="the socket there belongs to user 65534"):
            Supervisor.connect(tmp_path)
        os.kill(child, 9)
        os.waitpid(child, 0)
    os.close(ready)
    os.close(child_is_ready)


@pytest.mark.parametrize("raw", [b"x", bytes(STATUS_SIZE), b"\xff" * STATUS_SIZE, b"x" * (STATUS_SIZE + 1)])
def test_answers_that_are_nonsense(raw: bytes, tmp_path: Path) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there, Supervisor(here, tmp_path) as made:
        there.send(raw)
        with pytest.raises(BadInputError, match=f"supervisor in {tmp_path}: "):
            made.status()


def test_a_supervisor_that_hangs_up(tmp_path: Path) -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Supervisor(here, tmp_path) as made:
        there.close()
        with pytest.raises(StateError, match="it has ended"):
            made.status()


# ---------------------------------------------------------------------- what it costs


def pss(process: int) -> int:
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def test_memory(folder: Folder) -> None:
    """Idle, and after a burst: in kilobytes, a tenth of what is allowed."""
    made = folder.launch(shell("read x; yes 'some text' | head -c 4000000; read x"), open_stdin=True)
    made.start()
    assert made.process is not None
    assert pss(made.process) < 300
    client = Client(made, stdin=True)
    client.socket.sendall(b"\n")
    left = 4_000_000
    while left:
        left -= len(client.socket.recv(1 << 20))
    eventually(lambda: pss(made.process or 0) < 300)


def test_bad_configurations(tmp_path: Path) -> None:
    """The program ends with a code of its own, whatever the file holds."""
    from gasang.kinds.container.supervisor.executable import program_descriptor
    from gasang.kinds.container.supervisor.main import BAD_START

    good = bytearray(ctype_of(protocol.Config)(magic=protocol.CONFIG_MAGIC, version=protocol.VERSION, plan_offset=0, plan_length=0))
    cases = [b"", bytes(10), bytes(4096), bytes(good[:-1])]
    for at, raw in (
        (8, struct.pack("<I", 9)),
        (16, struct.pack("<Q", 1 << 63)),
        (24, struct.pack("<Q", 1 << 20)),
        (16, struct.pack("<Q", 4)),
    ):
        changed = bytearray(good)
        changed[at : at + len(raw)] = raw
        cases.append(bytes(changed))
    unended = bytearray(good)
    unended[-1] = 65
    cases.append(bytes(unended))
    for case in cases:
        file = os.memfd_create("config")
        os.write(file, case)
        moved = os.dup2(file, 200)
        os.close(file)
        process = os.posix_spawn(
            f"/proc/self/fd/{program_descriptor()}", ["supervisor"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, moved, protocol.FD_CONFIG)]
        )
        os.close(moved)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == BAD_START, case[:40]
