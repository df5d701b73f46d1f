"""Output to clients, input from them: nothing lost, nothing out of order, nobody held up who need not be."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import pty
import signal
import socket
import struct
import termios
import threading
import time

import pytest

from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import RequestRefused, Supervisor
from gasang.kinds.container.supervisor.state import MOST_CLIENTS, RING
from support.supervised import Client, Folder, eventually, frames, joined, plan_of, python, shell

COUNTED = """
import os, sys
for i in range({count}):
    os.write(1 if i % 3 else 2, b"%d " % i + b"x" * (i * 7 % {most}) + b"\\n")
"""


def counted(count: int, most: int) -> tuple[bytes, bytes]:
    lines = [b"%d " % i + b"x" * (i * 7 % most) + b"\n" for i in range(count)]
    return b"".join(line for i, line in enumerate(lines) if i % 3), b"".join(line for i, line in enumerate(lines) if not i % 3)


def detached(supervisor: Supervisor) -> tuple[int, str]:
    """Wait for the news that a client was detached: its number and why."""
    found: list[tuple[int, str]] = []

    def heard() -> bool:
        found.extend((news.value, news.reason) for news in supervisor.news() if news.kind == protocol.DETACHED)
        return bool(found)

    eventually(heard)
    return found[0]


@pytest.mark.parametrize("size", [1, 200_000])
@pytest.mark.parametrize("started", [False, True])
def test_input_that_came_early_goes_first(folder: Folder, size: int, started: bool) -> None:
    """Before the stream's own, also where the process does not read for a while; then the stream ends the input."""
    made = folder.launch(python("import sys, time; time.sleep(0.2); sys.stdout.write(str(sys.stdin.buffer.read()))"), open_stdin=True)
    if started:
        made.start()
    early = bytes(index % 23 + 65 for index in range(size))
    client = Client(made, stdin=True, ends_stdin=True, early=early)
    client.socket.sendall(b"-late")
    client.socket.shutdown(socket.SHUT_WR)
    if not started:
        made.start()
    assert client.rest() == repr(early + b"-late").encode()
    assert made.wait(20).code == 0


def test_keys_that_came_early_detach(folder: Folder) -> None:
    made = folder.launch(shell("cat"), open_stdin=True)
    made.start()
    client = Client(made, stdin=True, keys=b"\x10\x11", early=b"one\n\x10\x11two\n")
    assert detached(made) == (client.number, "keys")
    assert client.rest() in (b"one\n", b"")
    made.close_stdin()
    made.wait(20)
    assert folder.text() == "one\n"


def test_who_is_not_fed_goes_with_who_attached_him(folder: Folder) -> None:
    """A daemon that is killed in between leaves nobody waiting."""
    made = folder.launch(shell("cat"), open_stdin=True)
    made.start()
    ours, theirs = socket.socketpair()
    with ours, theirs, Supervisor.connect(folder.path) as other:
        flags = protocol.WANT_STDIN | protocol.WANT_STDOUT | protocol.EARLY
        other.request(protocol.ATTACH, flags=flags, descriptor=theirs.fileno())
        theirs.close()
        assert made.status().clients == 1
        other.close()
        ours.settimeout(10)
        assert ours.recv(1) == b""
    assert made.status().clients == 0


def test_who_has_nothing_early_is_not_fed(folder: Folder) -> None:
    made = folder.launch(shell("cat"), open_stdin=True)
    client = Client(made, stdin=True)
    for number in (client.number, 999):
        with open(os.devnull, "rb") as file, pytest.raises(RequestRefused):
            made.request(protocol.FEED, number, descriptor=file.fileno())


def test_nothing_is_lost_or_reordered(folder: Folder) -> None:
    made = folder.launch(python(COUNTED.format(count=4000, most=3000)))
    clients = [Client(made, multiplexed=True) for _ in range(3)]
    results: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda i=i, c=c: results.__setitem__(i, c.rest())) for i, c in enumerate(clients)]
    for thread in threads:
        thread.start()
    made.start()
    made.wait(30)
    for thread in threads:
        thread.join()
    out, err = counted(4000, 3000)
    for raw in results.values():
        assert joined(raw, 1) == out
        assert joined(raw, 2) == err
    assert folder.text("stdout").encode() == out
    assert folder.text("stderr").encode() == err


def test_raw_output_and_chosen_streams(folder: Folder) -> None:
    made = folder.launch(shell("echo out; sleep 0.05; echo err >&2; sleep 0.05; echo more"))
    both, out, err, none = (Client(made, stdout=o, stderr=e) for o, e in ((True, True), (True, False), (False, True), (False, False)))
    made.start()
    assert [client.rest() for client in (both, out, err, none)] == [b"out\nerr\nmore\n", b"out\nmore\n", b"err\n", b""]


def test_attached_while_it_runs(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    made.start()
    first = Client(made, stdin=True)
    first.socket.sendall(b"one\n")
    first.until(b"one\n")
    second = Client(made, stdin=True, ends_stdin=True)
    second.socket.sendall(b"two\n")
    assert second.until(b"two\n") == b"two\n"
    assert made.status().clients == 2
    second.socket.shutdown(socket.SHUT_WR)
    assert made.wait(10).code == 0
    assert first.rest() == b"two\n"
    assert second.rest() == b""


# ---------------------------------------------------------------------- input


def test_half_close(folder: Folder) -> None:
    """Input ends; output goes on."""
    made = folder.launch(shell("cat; echo over; exec sleep 0.1"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True)
    made.start()
    client.socket.sendall(b"input")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b"inputover\n"
    assert made.wait(10).code == 0


def test_much_input(folder: Folder) -> None:
    data = os.urandom(1 << 16) * 128
    made = folder.launch(shell("sha256sum"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True)
    made.start()
    client.socket.sendall(data)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest().split()[0] == hashlib.sha256(data).hexdigest().encode()


def test_input_before_the_start(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True)
    client.socket.sendall(b"early")
    client.socket.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    made.start()
    assert client.rest() == b"early"


def test_input_that_ends_only_when_it_should(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    client = Client(made, stdin=True)
    made.start()
    client.socket.sendall(b"last")
    assert client.until(b"last") == b"last"
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    other = Client(made, stdin=True)
    other.socket.sendall(b"still")
    assert other.until(b"still") == b"still"
    made.close_stdin()
    assert made.wait(10).code == 0


def test_input_at_a_terminal_has_no_end(folder: Folder) -> None:
    """Whoever leaves, by its end of input or for good, others type on."""
    made = folder.launch(plan_of("/bin/cat"), terminal=True)
    first = Client(made, stdin=True, ends_stdin=True)
    made.start()
    first.socket.shutdown(socket.SHUT_WR)
    assert first.rest() == b""
    second = Client(made, stdin=True, ends_stdin=True)
    second.socket.sendall(b"two\n")
    assert second.until(b"two\r\ntwo\r\n")
    second.socket.close()
    third = Client(made, stdin=True, ends_stdin=True)
    third.socket.sendall(b"three\n\x04")
    assert third.rest() == b"three\r\nthree\r\n"
    assert made.wait(10).code == 0


def test_a_client_that_vanishes_ends_the_input(folder: Folder) -> None:
    made = folder.launch(shell("cat >/dev/null; echo over"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True)
    made.start()
    client.socket.close()
    assert made.wait(10).code == 0
    assert folder.text() == "over\n"


def test_input_that_nobody_reads(folder: Folder) -> None:
    """It fills pipe and buffer, then waits at the client; output goes on meanwhile, and the end comes."""
    made = folder.launch(shell("exec 3<&0; read x; echo got $x; sleep 0.2; echo more"), open_stdin=True)
    client = Client(made, stdin=True)
    made.start()
    client.socket.setblocking(False)
    sent = 0
    try:
        while True:
            sent += client.socket.send(b"line\n" * 1000)
    except BlockingIOError:
        client.socket.settimeout(20)
    assert sent < 4_000_000
    try:
        assert client.rest() == b"got line\nmore\n"
    except ConnectionResetError:  # the end, with input left that nobody will read
        assert folder.text() == "got line\nmore\n"
    assert made.wait(10).code == 0


def test_a_process_that_closes_its_input(folder: Folder) -> None:
    made = folder.launch(shell("exec <&-; echo closed; sleep 0.3; echo end"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True)
    made.start()
    client.until(b"closed\n")
    for _ in range(100):
        client.socket.sendall(b"lost" * 1000)
    assert client.rest() == b"end\n"


def test_no_input_at_all(folder: Folder) -> None:
    made = folder.launch(shell("cat; echo end"))
    client = Client(made, stdin=True)
    client.socket.sendall(b"ignored")
    made.start()
    assert client.rest() == b"end\n"


# ---------------------------------------------------------------------- keys that detach


def test_detach_keys(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    client = Client(made, stdin=True, ends_stdin=True, keys=b"\x10\x11")
    made.start()
    client.socket.sendall(b"a\x10b\x10\x10\x10c\x11")
    assert client.until(b"c\x11") == b"a\x10b\x10\x10\x10c\x11"
    client.socket.sendall(b"last\x10")
    assert client.until(b"last") == b"last"
    client.socket.sendall(b"\x11never")
    assert detached(made) == (client.number, "keys")
    assert client.rest() == b""
    other = Client(made, stdin=True, keys=b"x")
    other.socket.sendall(b"12x34")
    assert detached(made) == (other.number, "keys")
    made.close_stdin()
    assert made.wait(10).code == 0
    assert folder.text() == "a\x10b\x10\x10\x10c\x11last12"


# ---------------------------------------------------------------------- slow clients and those that vanish

FLOOD = """
import os
for i in range({count}):
    rest = memoryview(b"%0255d\\n" % i * 256)
    while rest:
        rest = rest[os.write(1, rest):]
"""


def flood(count: int) -> bytes:
    return b"".join(b"%0255d\n" % i * 256 for i in range(count))


def test_a_patient_client_holds_the_process_up(folder: Folder) -> None:
    made = folder.launch(python(FLOOD.format(count=80)), log="")
    client = Client(made)
    made.start()
    time.sleep(0.4)
    assert made.status().state == "running"
    assert hashlib.sha256(client.rest()).digest() == hashlib.sha256(flood(80)).digest()
    assert made.wait(10).code == 0


def test_others_are_let_go_of(folder: Folder) -> None:
    made = folder.launch(python(FLOOD.format(count=80)))
    slow, fast = Client(made, patient=False), Client(made)
    made.start()
    assert fast.rest() == flood(80)
    assert detached(made) == (slow.number, "slow")
    got = slow.rest()
    assert flood(80).startswith(got)
    assert len(got) < 80 * 65536 - RING // 2
    assert made.wait(10).code == 0
    assert folder.text().encode() == flood(80)


def test_a_slow_client_gets_the_end_too(folder: Folder) -> None:
    """The process is over, its last output still in pipe and ring; the record does not wait for the client."""
    made = folder.launch(python(FLOOD.format(count=9)))
    client = Client(made, multiplexed=True)
    made.start()
    assert made.wait(10).code == 0
    assert folder.text().encode() == flood(9)
    assert joined(client.rest(), 1) == flood(9)
    made.reap()


@pytest.mark.parametrize("how", ["close", "reset", "shut"])
def test_a_client_that_vanishes(folder: Folder, how: str) -> None:
    made = folder.launch(python(FLOOD.format(count=60)))
    if how == "reset":
        listener = socket.create_server(("127.0.0.1", 0))
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
        number = made.attach(there).value
        there.close()
        listener.close()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        client = Client(made)
        number, here = client.number, client.socket
    made.start()
    here.recv(100_000)
    if how == "shut":
        here.shutdown(socket.SHUT_RDWR)
    here.close()
    assert detached(made) == (number, "gone")
    assert made.wait(20).code == 0
    assert folder.text().encode() == flood(60)


def test_a_tcp_client_half_closed(folder: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    made = folder.launch(shell("cat; echo end"), open_stdin=True)
    made.attach(there, stdin=True, ends_stdin=True)
    there.close()
    made.start()
    here.sendall(b"text ")
    here.shutdown(socket.SHUT_WR)
    got = b""
    while part := here.recv(100):
        got += part
    here.close()
    assert got == b"text end\n"


def test_too_many_clients(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    clients = [Client(made) for _ in range(MOST_CLIENTS)]
    with pytest.raises(RequestRefused) as refused:
        Client(made)
    assert refused.value.number == errno.ENOSPC
    clients[5].socket.close()
    assert detached(made)[0] == clients[5].number
    another = Client(made)
    made.start()
    made.close_stdin()
    assert made.wait(10).code == 0
    assert another.rest() == b""


def test_detaching_by_request(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    client, other = Client(made), Client(made)
    made.detach(client.number)
    assert detached(made) == (client.number, "request")
    assert client.rest() == b""
    for number in (client.number, 0, -1, 99_999):
        with pytest.raises(RequestRefused) as refused:
            made.detach(number)
        assert refused.value.number == errno.ESRCH
    made.start()
    made.close_stdin()
    assert other.rest() == b""


def test_a_held_client(folder: Folder) -> None:
    """What was logged before it came is for the daemon to send; what comes later waits."""
    made = folder.launch(shell("echo one; read x; echo two; read x; echo three"), open_stdin=True)
    first = Client(made, stdin=True)
    made.start()
    first.until(b"one\n")
    other, theirs = socket.socketpair()
    answer = made.attach(theirs, held=True)
    assert answer.logged == (folder.path / "test-json.log").stat().st_size
    first.socket.sendall(b"\n")
    first.until(b"two\n")
    theirs.sendall(b"replayed one\n")
    theirs.close()
    made.release(answer.value)
    first.socket.sendall(b"\n")
    got = b""
    while part := other.recv(100):
        got += part
    other.close()
    assert got == b"replayed one\ntwo\nthree\n"


def test_a_held_client_whose_daemon_dies(folder: Folder) -> None:
    """It is let go of, and does not hold the process up."""
    made = folder.launch(python(FLOOD.format(count=40)))
    daemon = Supervisor.connect(folder.path)
    client = Client(daemon, held=True)
    daemon.close()
    assert detached(made) == (client.number, "gone")
    made.start()
    assert made.wait(10).code == 0
    assert client.rest() == b""


# ---------------------------------------------------------------------- terminals


def test_a_terminal(folder: Folder) -> None:
    made = folder.launch(shell("tty; stty size; read x; echo got $x; stty size", terminal=True), terminal=True, rows=33, columns=77)
    client = Client(made, stdin=True)
    made.start()
    head = client.until(b"33 77\r\n")
    assert head.startswith(b"/dev/pts/")
    made.resize(50, 132)
    client.socket.sendall(b"word\n")
    assert client.rest() == b"word\r\ngot word\r\n50 132\r\n"
    assert made.wait(10).code == 0
    assert folder.text("stderr") == ""
    assert folder.text().endswith("33 77\r\nword\r\ngot word\r\n50 132\r\n")


def test_interrupts_through_the_terminal(folder: Folder) -> None:
    made = folder.launch(shell("echo up; exec sleep 60", terminal=True), terminal=True)
    client = Client(made, stdin=True)
    made.start()
    client.until(b"up\r\n")
    client.socket.sendall(b"\x03")
    ended = made.wait(10)
    assert (ended.code, ended.signal) == (130, signal.SIGINT)
    client.socket.close()


def test_sizes(folder: Folder) -> None:
    made = folder.launch(shell("trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.02; done", terminal=True), terminal=True)
    client = Client(made)
    made.resize(11, 22)
    made.start()
    client.until(b"11 22\r\n")
    made.resize(65535, 1)
    assert client.rest() == b"65535 1\r\n"
    for rows, columns in ((-1, 3), (3, 65536), (1 << 40, 1)):
        other = folder.launch(shell("true"), terminal=True)
        with pytest.raises(RequestRefused) as refused:
            other.resize(rows, columns)
        assert refused.value.number == errno.EINVAL
        other.leave()
        other.reap()


def test_no_terminal_to_resize(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    made.start()
    with pytest.raises(RequestRefused) as refused:
        made.resize(10, 10)
    assert refused.value.number == errno.ENOTTY


def test_a_terminal_of_ours(folder: Folder) -> None:
    """The master is given; the process's side is the plan's business."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 6, 0, 0))
    text = "import os; os.dup2(8, 1); os.write(1, str(os.get_terminal_size(8)).encode()); os.write(1, os.read(8, 10))"
    made = folder.launch(python(text, extra=1), terminal_master=master, descriptors=(slave,))
    os.close(master)
    os.close(slave)
    client = Client(made, stdin=True)
    made.start()
    client.until(b"lines=5)")
    client.socket.sendall(b"abc\n")
    assert client.rest() == b"abc\r\nabc\r\n"
    assert made.wait(10).code == 0


def test_much_output_of_a_terminal(folder: Folder) -> None:
    made = folder.launch(shell("stty -opost; seq 1 30000", terminal=True), terminal=True)
    client = Client(made)
    made.start()
    assert client.rest() == b"".join(b"%d\n" % i for i in range(1, 30001))
    assert folder.text().encode() == b"".join(b"%d\n" % i for i in range(1, 30001))


def test_frames_are_whole(folder: Folder) -> None:
    made = folder.launch(shell("printf abc; printf defg >&2"))
    client = Client(made, multiplexed=True)
    made.start()
    assert sorted(frames(client.rest())) == [(1, b"abc"), (2, b"defg")]
