"""The switch at work: between programs, taps and veths, with what each of them takes; counts, a mirror, and ends that go away."""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError, StateError, UsageError
from gasang.host import rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.network.switch.ports import Allowed, veth
from gasang.network.switch.switch import Switch
from gasang.network.user.checksum import is_right, pseudo
from gasang.network.user.service import cable
from support.network_host import Host

ONE, TWO, EVERYBODY = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\xff" * 6
BARE = bytes(12)
ALL_JOINED = (15).to_bytes(4, "little")


@pytest.fixture
def switch() -> Iterator[Switch]:
    made = Switch()
    yield made
    made.close()


class End:
    """A program at a port."""

    def __init__(self, switch: Switch, allowed: Allowed | None = None) -> None:
        ours, theirs = cable()
        self.number = switch.add(ours, allowed or Allowed())
        self.socket = socket.socket(fileno=theirs)
        self.socket.settimeout(30)

    def say(self, frame: bytes, header: bytes = BARE) -> None:
        self.socket.send(header + frame)

    def hear(self) -> tuple[bytes, bytes]:
        data = self.socket.recv(1 << 17)
        return data[:12], data[12:]


def frame(to: bytes, source: bytes, content: bytes, kind: int = 0x88B5) -> bytes:
    return to + source + struct.pack(">H", kind) + content


@pytest.fixture
def ends(switch: Switch) -> Iterator[list[End]]:
    made = [End(switch), End(switch)]
    made[1].say(frame(ONE, TWO, b"here I am"))
    made[0].hear()
    yield made
    for end in made:
        end.socket.close()


def test_frames_pass_and_are_counted(switch: Switch, ends: list[End]) -> None:
    one, two = ends
    sent = frame(TWO, ONE, b"hello")
    one.say(sent)
    assert two.hear() == (BARE, sent)
    assert switch.stations() == {(0, ONE): one.number, (0, TWO): two.number}
    counts = switch.counts(one.number)
    assert (counts.frames_in, counts.bytes_in, counts.frames_out, counts.refused) == (1, len(sent), 1, 0)
    one.socket.send(b"short")
    one.say(b"")
    one.say(sent)
    two.hear()
    assert switch.counts(one.number).refused == 2


def test_tags_come_and_go(switch: Switch) -> None:
    one, two = End(switch, Allowed(vlan=12)), End(switch, Allowed(trunk=(12, 13)))
    checksum = struct.pack("<BBHHHHH", 1, 0, 0, 0, 14, 2, 0)
    one.say(frame(TWO, ONE, b"hello"), checksum)
    two.socket.send(ALL_JOINED)
    header, got = two.hear()
    assert got[:18] == TWO + ONE + struct.pack(">HHH", 0x8100, 12, 0x88B5)
    two.socket.send(BARE + ONE + TWO + struct.pack(">HHH", 0x8100, 12, 0x88B5) + b"back")
    assert one.hear() == (BARE, frame(ONE, TWO, b"back"))
    del header
    one.say(frame(TWO, ONE, b"again"), checksum)
    header, got = two.hear()
    assert header[6] == 18
    one.socket.close()
    two.socket.close()


def tcp(content: bytes, version: int) -> tuple[bytes, bytes]:
    """A frame of joined segments, and what stands before it."""
    head = struct.pack(">HHIIBBHHH", 1000, 80, 7, 9, 5 << 4, 0x99, 512, 0, 0)
    if version == 4:
        ends = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
        ip, kind = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(content), 5, 0, 64, 6, 0) + ends, 0x800
    else:
        ends = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")
        ip, kind = struct.pack(">IHBB", 6 << 28, 20 + len(content), 6, 64) + ends, 0x86DD
    begins = 14 + len(ip)
    return struct.pack("<BBHHHHH", 1, 1 if version == 4 else 4, begins + 20, 500, begins, 16, 0), frame(TWO, ONE, ip + head + content, kind)


@pytest.mark.parametrize("version", [4, 6])
def test_joined_segments_are_cut_for_who_cannot_take_them(ends: list[End], version: int) -> None:
    one, two = ends
    content = os.urandom(1733)
    header, whole = tcp(content, version)
    one.say(whole, header)
    size, got, begins = (20, b"", 34) if version == 4 else (40, b"", 54)
    flags = []
    while len(got) < len(content):
        bare, part = two.hear()
        assert bare == BARE
        ip, segment = part[14 : 14 + size], part[begins:]
        if version == 4:
            assert is_right(ip)
            assert struct.unpack_from(">H", ip, 4)[0] == 5 + len(flags)
            ends4 = ip[12:16], ip[16:20]
        else:
            ends4 = ip[8:24], ip[24:40]
        assert is_right(segment, pseudo(*ends4, 6, len(segment)))
        assert struct.unpack_from(">I", segment, 4)[0] == 7 + len(got)
        flags.append(segment[13])
        got += segment[20:]
    assert got == content
    assert flags == [0x90, 0x10, 0x10, 0x19]
    two.socket.send(ALL_JOINED)
    two.say(frame(ONE, TWO, b"I take them now"))
    one.hear()
    one.say(whole, header)
    assert two.hear() == (header, whole)


def test_a_checksum_is_filled_in(ends: list[End]) -> None:
    one, two = ends
    udp = struct.pack(">HHHH", 5, 6, 13, 0x1234)
    one.say(frame(TWO, ONE, bytes(20) + udp + b"hello", 0x800), struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 6, 0))
    header, got = two.hear()
    assert header == BARE
    assert is_right(got[34:40] + struct.pack(">H", 0x1234) + got[42:], 0) is False
    assert (int.from_bytes(got[40:42], "big") + sum(struct.unpack(">HHHHHH", got[34:40] + b"hello\0")) + 0x1234) % 0xFFFF == 0


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=12, max_size=12), st.binary(max_size=200), st.integers(0, 120))
def test_any_header_before_any_frame(header: bytes, junk: bytes, at: int) -> None:
    switch = _shared()
    one, two = switch
    for _, whole in (tcp(b"x" * 300, 4), tcp(b"x" * 300, 6)):
        one.say((whole[:at] + junk + whole[at:])[:65000], header)
        one.say(whole[: 14 + at], header)
    last = frame(TWO, ONE, os.urandom(16))
    one.say(last)
    while two.hear()[1] != last:
        pass


_made: list[tuple[End, End]] = []


def _shared() -> tuple[End, End]:
    if not _made:
        switch = Switch()
        _made.append((End(switch), End(switch)))
        _made[0][0].switch = switch  # type: ignore[attr-defined]
    return _made[0]


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    for one, two in _made:
        one.switch.close()  # type: ignore[attr-defined]
        one.socket.close()
        two.socket.close()


def test_a_rate_holds_each_way_and_latency_delays(switch: Switch) -> None:
    fast, slow, late = End(switch), End(switch, Allowed(rate_in=16_000_000, rate_out=16_000_000)), End(switch, Allowed(latency=0.1))
    for end, mac in ((fast, ONE), (slow, TWO)):
        end.say(frame(b"\xff" * 6, mac, b"hello"))
    late.hear()
    for sender, receiver, to, source in ((fast, slow, TWO, ONE), (slow, fast, ONE, TWO)):
        spent: list[float] = []
        while len(spent) < 5 and not (spent and spent[-1] < 1.5):  # on a busy host it may take some tries
            begun = time.monotonic()
            sending = threading.Thread(target=lambda: [sender.say(frame(to, source, bytes(1400))) for _ in range(500)])  # noqa: B023  joined below
            sending.start()
            got = 0
            while got < 500:
                got += receiver.hear()[1][14:] == bytes(1400)
            sending.join()
            spent.append(time.monotonic() - begun)
        assert 0.2 < spent[-1] < 1.5  # 707,000 bytes, 131,072 of them at once: 0.29 s
    begun = time.monotonic()
    fast.say(frame(b"\xff" * 6, ONE, b"now"))
    while late.hear()[1][14:17] != b"now":
        pass
    assert time.monotonic() - begun > 0.09
    for end in (fast, slow, late):
        end.socket.close()


def test_a_mirror_sees_what_is_let_in(switch: Switch, ends: list[End]) -> None:
    mirror, number = switch.mirror()
    with mirror:
        mirror.settimeout(30)
        sent = frame(TWO, ONE, b"look")
        ends[0].say(sent)
        assert mirror.recv(100) == BARE + sent
        assert switch.missed(number) == 0
    ends[0].say(sent)
    ends[1].hear()
    ends[1].hear()


def test_a_port_that_says_too_much_and_nonsense_does_not_disturb_others(switch: Switch, ends: list[End]) -> None:
    """Oversized frames, those of nobody, a new hardware address each, and no end of them: the others have their places, and room."""
    hostile = End(switch)
    largest = frame(TWO, b"\2\7\7\7\7\7", bytes(65539))
    for oversized in (largest + b"x", largest + bytes(60), bytes(66_000)):
        hostile.say(oversized)
    hostile.say(largest)
    assert ends[1].hear()[1] == largest
    for number in range(3000):
        hostile.say(frame(EVERYBODY, b"\2\1" + number.to_bytes(4, "big"), bytes(46)))
        for end in ends:  # they take what there is for them
            with suppress(BlockingIOError):
                while os.read(end.socket.fileno(), 1 << 17):
                    pass
    last = frame(TWO, ONE, b"still here")
    ends[0].say(last)
    while ends[1].hear()[1] != last:
        pass
    assert switch.counts(hostile.number).refused == 3
    assert sum(port == hostile.number for port in switch.stations().values()) <= 512
    assert switch.stations()[0, ONE] == ends[0].number
    hostile.socket.close()


def test_an_end_that_goes_frees_its_port() -> None:
    gone: list[int] = []
    there = threading.Event()
    switch = Switch(gone=lambda number: (gone.append(number), there.set())[1])
    one, two = End(switch), End(switch)
    one.say(frame(TWO, ONE, b"hello"))
    two.hear()
    one.socket.close()
    assert there.wait(30)
    assert gone == [one.number]
    assert switch.stations() == {}
    again = End(switch)
    assert again.number == one.number
    again.socket.close()
    two.socket.close()
    switch.close()
    switch.close()


def test_a_port_that_goes_at_once_was_there_before() -> None:
    told: queue.Queue[tuple[str, int]] = queue.Queue()
    switch = Switch(gone=lambda number: told.put(("gone", number)))
    for _ in range(50):
        ours, theirs = cable()
        os.close(theirs)
        switch.add(ours, added=lambda number: told.put(("added", number)))
    there: set[int] = set()
    for _ in range(100):
        what, number = told.get(timeout=30)
        assert (what == "gone") == (number in there)
        there ^= {number}
    assert not there
    switch.close()


def test_who_comes_while_it_ends_is_told_so() -> None:
    told: list[GasangError] = []
    for _ in range(20):
        switch = Switch()
        begun = threading.Barrier(3)

        def coming(switch: Switch = switch, begun: threading.Barrier = begun) -> None:
            begun.wait(10)
            while True:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.close()
                descriptor = theirs.detach()
                try:
                    switch.remove(switch.add(descriptor))
                except StateError as error:
                    os.close(descriptor)
                    told.append(error)
                    return

        threads = [threading.Thread(target=coming, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait(10)
        switch.close()
        switch.close()
        for thread in threads:
            thread.join(10)
    assert len(told) == 40
    with pytest.raises(StateError, match="has ended"):
        switch.mirror()
    switch.remove(0)


def test_what_a_port_cannot_be_allowed() -> None:
    for wrong in ({"vlan": 4095}, {"mac": b"123"}, {"ipv4": b"1234"}, {"loss": -1}, {"latency": 11.0}, {"rate_in": -1}):
        with pytest.raises(UsageError):
            Allowed(**wrong)  # type: ignore[arg-type]


def test_containers_by_veth_and_a_guest_by_cable(host: Host, switch: Switch) -> None:
    """TCP between two namespaces whose veths are ports, joined segments and all; and a program hears what they say to everybody."""
    places = [host.namespace(), host.namespace()]
    with Socket(ROUTE) as route:
        for number, place in enumerate(places, 1):
            route.send([rtnetlink.new_veth(f"v{number}", 0, "eth0", bytes((2, 0, 0, 0, 9, number)), place)])
            host.inside(place, lambda number=number: host._address("eth0", f"10.9.0.{number}"))  # type: ignore[misc]
            route.send([rtnetlink.settle_link(socket.if_nametoindex(f"v{number}"))])
            switch.add(veth(f"v{number}"))
    guest = End(switch)
    host.serve(places[1], "10.9.0.2", 80)
    assert host.call(places[0], "10.9.0.2", 80) == "10.9.0.1"
    assert guest.hear()[1][12:14] == b"\x08\x06"
    assert {mac[-1] for _, mac in switch.stations()} == {1, 2}
    guest.socket.close()
    with pytest.raises(GasangError):
        veth("nobody")
