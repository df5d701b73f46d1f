"""Captures: the filter's words against frames of all sorts, the file as tcpdump reads it, and a bridge that is listened to."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, StateError, UsageError
from gasang.network.capture import pcapng
from gasang.network.capture.facts import facts
from gasang.network.capture.filters import MOST_NESTED, compiled
from gasang.network.capture.listener import Frame
from gasang.network.capture.recording import Recording, Wanted
from gasang.network.spec import EndpointSpec, NetworkSpec, SubnetSpec
from support.network_host import Host

TO, FROM = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
SYN = struct.pack(">HHIIHHHH", 40000, 80, 1, 0, 5 << 12 | 2, 1024, 0, 0)


def ip(content: bytes, protocol: int, *, offset: int = 0) -> bytes:
    fixed = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(content), 1, offset, 64, protocol, 0)
    return fixed + socket.inet_aton("10.7.0.2") + socket.inet_aton("10.7.0.3") + content


def ip6(content: bytes, following: int) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, "fd07::2") + socket.inet_pton(socket.AF_INET6, "fd07::3")
    return struct.pack(">IHBB", 6 << 28, len(content), following, 64) + ends + content


def frame(kind: int, content: bytes, tag: int | None = None) -> bytes:
    tagged = struct.pack(">HH", 0x8100, tag) if tag is not None else b""
    return TO + FROM + tagged + struct.pack(">H", kind) + content


TCP = frame(0x0800, ip(SYN, 6))
TAGGED = frame(0x0800, ip(SYN, 6), 12)
LATER = frame(0x0800, ip(SYN, 6, offset=100))
TCP6 = frame(0x86DD, ip6(struct.pack(">BBHI", 6, 0, 0x0102, 0) + SYN, 0))
LATER6 = frame(0x86DD, ip6(struct.pack(">BBHI", 6, 0, 8, 0) + SYN, 44))
ARP = frame(0x0806, struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, FROM, b"\x0a\7\0\2", TO, b"\x0a\7\0\3"))
FRAMES = {"TCP": TCP, "TAGGED": TAGGED, "LATER": LATER, "TCP6": TCP6, "LATER6": LATER6, "ARP": ARP}


@pytest.mark.parametrize(
    ("words", "fitting"),
    [
        ("", "TCP TAGGED LATER TCP6 LATER6 ARP"),
        ("tcp", "TCP TAGGED LATER TCP6 LATER6"),
        ("tcp port 80", "TCP TAGGED TCP6"),
        ("src port 80", ""),
        ("dst port 80 and not vlan", "TCP TCP6"),
        ("vlan 12 or arp", "TAGGED ARP"),
        ("vlan 13", ""),
        ("host 10.7.0.3", "TCP TAGGED LATER ARP"),
        ("src net 10.7.0.0/24 and ip", "TCP TAGGED LATER"),
        ("dst host 10.7.0.2", ""),
        ("net fd07::/64", "TCP6 LATER6"),
        ("ether src 02:00:00:00:00:02 && less 50", "ARP"),
        ("ether host 02:00:00:00:00:09", ""),
        ("!(ip || ip6)", "ARP"),
        ("udp or icmp or icmp6 or sctp", ""),
        ("greater 58", "TAGGED TCP6 LATER6"),
    ],
)
def test_words_and_the_frames_they_mean(words: str, fitting: str) -> None:
    test = compiled(words)
    assert [name for name, data in FRAMES.items() if test(facts(data))] == fitting.split()


@pytest.mark.parametrize(
    "words",
    ["tcp port", "port 65536", "host nobody", "ether 1:2", "and", "tcp tcp", "( tcp", "tcp )", "vlan 5000", "net 10.0.0.0/33", "a" * 2000,
     "not " * (MOST_NESTED + 1) + "tcp", "(" * 400 + "tcp" + ")" * 400, "tcp & udp", "\ud800"],
)  # fmt: skip
def test_words_that_mean_nothing(words: str) -> None:
    with pytest.raises(UsageError):
        compiled(words)


@given(
    st.text(alphabet="abcdehilmnoprstux0123456789 ()!&|/:.")
    | st.lists(st.sampled_from(["(", ")", "not", "and", "or", "tcp", "port", "80", "host", "src"])).map(" ".join)
)
def test_any_words_are_a_filter_or_refused(words: str) -> None:
    try:
        compiled(words)(facts(TCP))
    except UsageError:
        return


@given(st.binary(max_size=120), st.sampled_from(sorted(FRAMES)), st.integers(0, 120))
def test_any_frame_has_facts(data: bytes, name: str, at: int) -> None:
    for each in (data, FRAMES[name][:at], FRAMES[name][:at] + data):
        found = facts(each)
        assert max(found.source_port, found.target_port, found.protocol, found.vlan) <= 0xFFFF
        compiled("tcp port 80 or net 10.0.0.0/8 or net fd00::/8 or vlan 1")(found)


def recorded(wanted: Wanted, *frames: bytes) -> bytes:
    recording = Recording("br0", wanted)
    made = [Frame(data, 1_700_000_000_000_000_000 + number) for number, data in enumerate(frames)]
    return recording.begin() + recording.add(made) + recording.end(1_700_000_001_000_000_000, 9, 3)


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="needs tcpdump")
def test_tcpdump_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    path.write_bytes(recorded(Wanted(filter="not arp", kept=200), *FRAMES.values()))
    shown = subprocess.run(
        ["tcpdump", "-n", "-e", "-tttt", "--nano", "-r", path],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/usr/sbin"},
    )
    lines = shown.stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("2023-11-14 22:13:20.000000000 02:00:00:00:00:02 > 02:00:00:00:00:01")
    assert "10.7.0.2.40000 > 10.7.0.3.80: Flags [S]" in lines[0]
    assert "vlan 12" in lines[1]


def test_a_capture_ends_with_its_count_and_cuts_frames() -> None:
    data = recorded(Wanted(count=2, kept=20), *FRAMES.values())
    assert pcapng.packets(data) == 2
    assert TCP[:20] in data
    assert TCP[:21] not in data


@given(st.integers(0, 400))
def test_what_is_there_as_a_whole(at: int) -> None:
    data = recorded(Wanted(), *FRAMES.values())
    size = pcapng.whole(data[:at])
    assert size <= at
    assert pcapng.whole(data[:size]) == size
    assert pcapng.whole(data) == len(data)


@pytest.mark.parametrize("length", [0, 8, 13, 1 << 30])
def test_what_is_no_block(length: int) -> None:
    with pytest.raises(BadInputError):
        pcapng.whole(struct.pack("<II", 6, length))


@pytest.mark.parametrize("wanted", [Wanted(kept=0), Wanted(kept=1 << 20), Wanted(count=-1), Wanted(filter="so")])
def test_what_cannot_be_wanted(wanted: Wanted) -> None:
    with pytest.raises(UsageError):
        Recording("br0", wanted)


def test_a_bridge_shows_what_passes_between_its_ports_once(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan", subnets=(SubnetSpec("10.7.0.0/24"),)))
    with pytest.raises(StateError):
        networks.listen("lan")
    one, two = host.namespace(), host.namespace()
    networks.connect("lan", one, EndpointSpec("1" * 64))
    end = networks.connect("lan", two, EndpointSpec("2" * 64))
    listener = networks.listen("lan")
    host.serve(two, end.address(4), 80)
    host.call(one, end.address(4), 80)
    frames = listener.frames(1000)
    fits = compiled("tcp dst port 80 and less 200")
    opening = [item for item in frames if fits(facts(item.data)) and item.data[47] == 2]
    assert len(opening) == 1
    assert listener.counts() == (len(frames), 0)
    listener.close()
