"""Showing logs: every entry once, in order, as it was put out; wishes honoured; rotations followed; whatever is no entry passed over."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, NotFoundError
from gasang.kinds.container.supervisor import decode
from gasang.kinds.container.supervisor.decode import IN_SIZE
from gasang.kinds.container.supervisor.logs import LogReader, OutputGone, Progress
from gasang.kinds.container.supervisor.times import NO_TIME, read_time
from gasang.kinds.container.supervisor.unescape import NO_END, unescape
from support.supervised import LOG, Client, Folder, eventually, frames, joined, python, shell

NAME = "x.log"
START = 1_700_000_000 * 10**9


def stamp(time: int) -> str:
    seconds, rest = divmod(time, 10**9)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def entry(text: str, stream: str = "stdout", time: int = START, **members: Any) -> bytes:
    made = {"log": text, "stream": stream, **members, "time": stamp(time)}
    return json.dumps(made, separators=(",", ":"), ensure_ascii=len(text) % 2 == 0).encode() + b"\n"


def shown(folder: Path, name: str = NAME, **wishes: Any) -> bytes:
    """All that is shown."""
    made = os.memfd_create("shown")
    try:
        with LogReader(folder, name, made, **wishes) as reader:
            reader.run()
        return os.pread(made, 1 << 26, 0)
    finally:
        os.close(made)


def write(folder: Path, *files: bytes) -> None:
    """The files of a log, the oldest first."""
    for number, content in enumerate(reversed(files)):
        (folder / (f"{NAME}.{number}" if number else NAME)).write_bytes(content)


def runs(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Successive frames of one stream as one."""
    return [(number, b"".join(text for _, text in group)) for number, group in groupby(frames, itemgetter(0))]


TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(['"', "\\", "\\n", "\n", "\u2028\u2029", "😀é\ufffd\0", '","stream":"stderr","time":"', "a" * 5000, ""]),
)
ENTRIES = st.lists(st.tuples(TEXTS, st.sampled_from(["stdout", "stderr"])), max_size=25)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ENTRIES, st.booleans(), st.booleans(), st.booleans())
def test_every_entry(tmp_path: Path, entries: list[tuple[str, str]], out: bool, err: bool, stamped: bool) -> None:
    write(tmp_path, b"".join(entry(text, stream, START + i) for i, (text, stream) in enumerate(entries)))
    prefix = [f"{datetime.fromtimestamp(START // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{i:09}Z " if stamped else "" for i in range(len(entries))]
    wanted = [
        (1 if stream == "stdout" else 2, (prefix[i] + text).encode("utf-8", "replace"))
        for i, (text, stream) in enumerate(entries)
        if (out if stream == "stdout" else err)
    ]
    got = frames(shown(tmp_path, multiplexed=True, stdout=out, stderr=err, timestamps=stamped))
    assert runs(got) == runs(wanted)
    assert all(len(one) >= 32_000 for (stream, one), (after, _) in pairwise(got) if stream == after)
    assert shown(tmp_path, stdout=out, stderr=err, timestamps=stamped) == b"".join(text for _, text in wanted)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (entry("a", attrs={"label": '","stream":"stderr"', "deep": {"x": ["}", 1, None]}}), b"a"),
        (b'{"log":"b","time":"2024-01-01T00:00:00Z","stream":"stdout"}\n', b"b"),
        (b'{"log":"c","n":12,"stream":"stdout","time":"2024-01-01T00:00:00.5Z","more":true}\n', b"c"),
        (b'{"log":"\\ud83d\\ude00\\u00e9\\/\\b\\f\\t","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n', "😀é/\b\f\t".encode()),
        (b'{"log":"\\ud83dx\\udc00","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n', "\ufffdx\ufffd".encode()),
        (b'{"log":"d","stream":"other","time":"2024-01-01T00:00:00Z"}\n', b""),
        (b'{"log":"e","stream":"stdout"}\n', b""),
        (b'{"log":"f","time":"2024-01-01T00:00:00Z"}\n', b""),
        (b'{"log":"no end\n', b""),
        (b'{"log":"backslash\\\n', b""),
        (b'{"log":"u\\u12\n', b""),
        (b'{"stream":"stdout","log":"late"}\n', b""),
        (b"\n", b""),
        (b"nonsense\n", b""),
        (b"\0" * 1000 + b"\n", b""),
        (b'{"log":"g","stream":"stdout","time":"2024-01-01T00:00:00Z"', b""),
    ],
)
def test_lines_of_other_forms(tmp_path: Path, line: bytes, text: bytes) -> None:
    write(tmp_path, entry("before\n") + line + (b"" if not line.endswith(b"\n") else entry("after\n")))
    assert shown(tmp_path) == b"before\n" + text + (b"after\n" if line.endswith(b"\n") else b"")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_logs(tmp_path: Path, data: st.DataObject) -> None:
    """Anything may be in the file: what is shown comes from it, and nothing else happens."""
    raw = bytearray(b"".join(entry(f"line {i}\\\n", time=START + i) for i in range(20)))
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.one_of(st.binary(max_size=5), st.sampled_from([b'"', b"\\u", b"{", b"\n"]))
        )
    write(tmp_path, bytes(raw))
    for wishes in ({}, {"multiplexed": True, "timestamps": True}, {"since": START + 3, "until": START + 9}, {"tail": 5}):
        assert len(shown(tmp_path, **wishes)) <= 4 * len(raw)


def test_a_line_longer_than_the_buffer(tmp_path: Path) -> None:
    for size in (IN_SIZE - 100, IN_SIZE - 1, IN_SIZE, IN_SIZE + 1, 3 * IN_SIZE):
        write(tmp_path, entry("before\n") + b"x" * size + b"\n" + entry("after\n"))
        assert shown(tmp_path) == b"before\nafter\n"
    long = "y" * (IN_SIZE - 80)
    write(tmp_path, entry("before\n") + entry(long) + entry("after\n"))
    assert shown(tmp_path).replace(long.encode(), b"LONG") == b"before\nLONGafter\n"


@given(st.binary(max_size=40))
def test_any_string(text: bytes) -> None:
    """The same in compiled code and plain Python, within its room."""
    results = []
    for call in (unescape, unescape.python):
        to = ctypes.create_string_buffer(b"\xaa" * (len(text) + 32), len(text) + 32)
        place = (ctypes.c_uint64 * 2)()
        source = ctypes.create_string_buffer(text + b"\x55" * 8, len(text) + 8)
        size = call(to, source, len(text), place)
        assert size <= len(text)
        assert to.raw[len(text) + 8 :] == b"\xaa" * 24
        results.append((to.raw[:size], place[0]))
    assert results[0] == results[1]
    assert (results[0][1] == NO_END) == (b'"' not in text.replace(b"\\\\", b"").replace(b'\\"', b"")) or b"\\" in text


# ---------------------------------------------------------------------- wishes


@given(st.integers(0, 16_000_000_000 * 10**9))
def test_times_come_back(time: int) -> None:
    text = stamp(time).encode()
    assert read_time(ctypes.create_string_buffer(text), len(text)) == time


@pytest.mark.parametrize(
    "text",
    [
        "", "2024", "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567890Z", "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z", "2024-01-32T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "1969-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z", "2024-01-01 00:00:00Z", "2024-01-01T00:00:0xZ", "x024-01-01T00:00:00Z", "2024-01-01T00:00:00.12xZ",
        "2024-01-01T00:00:00+01:00",
    ],
)  # fmt: skip
def test_times_that_are_none(text: str, tmp_path: Path) -> None:
    assert read_time(ctypes.create_string_buffer(text.encode()), len(text)) == NO_TIME
    write(tmp_path, json.dumps({"log": "x\n", "stream": "stdout", "time": text}, separators=(",", ":")).encode() + b"\n" + entry("good\n"))
    assert shown(tmp_path, timestamps=True).endswith(b" good\n")
    assert shown(tmp_path, timestamps=True).count(b"\n") == 1


def numbered(numbers: range) -> bytes:
    return b"".join(entry(f"{i}\n", time=START + i * 10**9) for i in numbers)


def numbers(raw: bytes) -> list[int]:
    return [int(line) for line in raw.splitlines()]


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ({"since": START + 40 * 10**9}, range(40, 100)),
        ({"since": START + 40 * 10**9 + 1}, range(41, 100)),
        ({"until": START + 40 * 10**9}, range(41)),
        ({"since": START + 5 * 10**9, "until": START + 7 * 10**9}, range(5, 8)),
        ({"since": START + 1000 * 10**9}, range(0)),
        ({"tail": 0}, range(0)),
        ({"tail": 1}, range(99, 100)),
        ({"tail": 20}, range(80, 100)),
        ({"tail": 21}, range(79, 100)),
        ({"tail": 50}, range(50, 100)),
        ({"tail": 51}, range(49, 100)),
        ({"tail": 100}, range(100)),
        ({"tail": 10_000}, range(100)),
        ({"tail": 30, "since": START + 90 * 10**9}, range(90, 100)),
        ({"tail": 30, "until": START + 80 * 10**9}, range(70, 81)),
    ],
)
def test_spans_and_tails(tmp_path: Path, wishes: dict[str, int], wanted: range) -> None:
    write(tmp_path, numbered(range(50)), numbered(range(50, 80)), numbered(range(80, 100)))
    assert numbers(shown(tmp_path, **wishes)) == list(wanted)


def test_tails_across_blocks(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(20_000)))
    for tail in (1, 2, 2621, 5000, 19_999, 20_000, 20_001):
        assert numbers(shown(tmp_path, tail=tail)) == list(range(max(0, 20_000 - tail), 20_000))


@pytest.mark.parametrize("size", [1, 9, decode.PREFIX_SIZE])
def test_something_before_each_entry(tmp_path: Path, size: int) -> None:
    texts = ["one\n", "two\n", "x" * 100_000 + "\n", *(f"{number}\n" for number in range(20))]
    write(tmp_path, b"".join(entry(text) for text in texts))
    prefix = b"p" * (size - 1) + b" "
    expected = b"".join(prefix + text.encode() for text in texts)
    assert shown(tmp_path, prefix=prefix) == expected
    assert joined(shown(tmp_path, prefix=prefix, multiplexed=True), 1) == expected
    assert shown(tmp_path, prefix=prefix, timestamps=True, tail=1) == f"{stamp(START)[:-1]}.000000000Z ".encode() + prefix + b"19\n"
    with pytest.raises(BadInputError, match="before each entry"):
        shown(tmp_path, prefix=bytes(decode.PREFIX_SIZE + 1))


def test_a_limit(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(5)), numbered(range(5, 10)))
    size = len(entry("5\n", time=START + 5 * 10**9))
    assert numbers(shown(tmp_path, limit=2 * size)) == list(range(7))
    assert numbers(shown(tmp_path, limit=2 * size + 5)) == list(range(7))


def test_only_what_is_there_at_the_start(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(10)))
    made = os.memfd_create("shown")
    with LogReader(tmp_path, NAME, made) as reader:
        with (tmp_path / NAME).open("ab") as file:
            file.write(numbered(range(10, 20)))
        reader.run()
    assert numbers(os.pread(made, 10_000, 0)) == list(range(10))
    os.close(made)


@pytest.mark.parametrize("what", ["nothing", "folder", "link", "pipe"])
def test_no_log_to_show(tmp_path: Path, what: str) -> None:
    path = tmp_path / NAME
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("/etc/passwd")
    elif what == "pipe":
        os.mkfifo(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotFoundError if what == "nothing" else BadInputError):
        LogReader(tmp_path, NAME, 1, follow=True)
    assert len(os.listdir("/proc/self/fd")) <= before


# ---------------------------------------------------------------------- outputs


def test_an_output_that_does_not_take_everything(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(60_000)))
    here, there = socket.socketpair()
    here.setblocking(False)
    got = b""
    with here, there, LogReader(tmp_path, NAME, here.fileno()) as reader:
        blocked = 0
        while (progress := reader.step()) is not Progress.DONE:
            if progress is Progress.BLOCKED:
                blocked += 1
                got += there.recv(100_000)
        here.shutdown(socket.SHUT_WR)
        while part := there.recv(1 << 20):
            got += part
    assert blocked > 1
    assert numbers(got) == list(range(60_000))


@pytest.mark.parametrize("follow", [False, True])
def test_an_output_that_goes_away(tmp_path: Path, follow: bool) -> None:
    write(tmp_path, numbered(range(60_000 if not follow else 1)))
    here, there = socket.socketpair()
    with here, LogReader(tmp_path, NAME, here.fileno(), follow=follow) as reader:
        threading.Timer(0.1, there.close).start()
        with pytest.raises(OutputGone, match="it does not take anything any more"):
            reader.run()


# ---------------------------------------------------------------------- following


class Following:
    """A reader in a thread."""

    def __init__(self, folder: Path, name: str = NAME, **wishes: Any) -> None:
        self.here, self.there = socket.socketpair()
        self.stop, self.stopper = os.pipe()
        self.reader = LogReader(folder, name, self.here.fileno(), follow=True, **wishes)
        self.got = b""
        self.threads = [threading.Thread(target=self._show), threading.Thread(target=self._receive)]
        for thread in self.threads:
            thread.start()

    def _show(self) -> None:
        self.reader.run(self.stop)
        self.here.close()

    def _receive(self) -> None:
        while part := self.there.recv(1 << 20):
            self.got += part

    def end(self) -> bytes:
        os.write(self.stopper, b"x")
        for thread in self.threads:
            thread.join(20)
        self.reader.close()
        self.there.close()
        os.close(self.stop)
        os.close(self.stopper)
        return self.got


def test_following(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(3)))
    made = Following(tmp_path, tail=1)
    eventually(lambda: made.got == b"2\n")
    with (tmp_path / NAME).open("ab", buffering=0) as file:
        file.write(numbered(range(3, 5)))
        eventually(lambda: made.got == b"2\n3\n4\n")
        line = entry("5\n")
        file.write(line[:20])
        time.sleep(0.05)
        assert made.got == b"2\n3\n4\n"
        file.write(line[20:])
        eventually(lambda: made.got.endswith(b"5\n"))
        file.write(entry("last\n"))
    assert made.end() == b"2\n3\n4\n5\nlast\n"


def rotations(folder: Path, keep: int, rounds: int, each: int, pause: Callable[[], None]) -> None:
    """What a supervisor does to its files."""
    for round_ in range(rounds):
        if round_:
            for number in range(keep - 1, 0, -1):
                old = folder / (f"{NAME}.{number - 1}" if number > 1 else NAME)
                if old.exists():
                    old.rename(folder / f"{NAME}.{number}")
        with (folder / NAME).open("ab", buffering=0) as file:
            for i in range(each):
                file.write(numbered(range(round_ * each + i, round_ * each + i + 1)))
        pause()


@pytest.mark.parametrize("pause", [0.0, 0.003])
def test_following_through_rotations(tmp_path: Path, pause: float) -> None:
    """With enough files kept nothing is missed, however fast they change."""
    write(tmp_path, b"")
    made = Following(tmp_path)
    rotations(tmp_path, 1000, 120, 7, lambda: time.sleep(pause))
    assert numbers(made.end()) == list(range(120 * 7))


def test_following_when_files_go_faster_than_they_are_read(tmp_path: Path) -> None:
    """What has been removed is missed; the rest comes in order."""
    write(tmp_path, b"")
    made = Following(tmp_path)
    rotations(tmp_path, 3, 100, 50, lambda: None)
    found = numbers(made.end())
    assert found == sorted(set(found))
    assert found[-1] == 4999


def test_following_one_file_that_is_emptied(tmp_path: Path) -> None:
    write(tmp_path, numbered(range(100)))
    made = Following(tmp_path)
    eventually(lambda: made.got.endswith(b"99\n"))
    (tmp_path / NAME).write_bytes(b"")
    with (tmp_path / NAME).open("ab") as file:
        file.write(numbered(range(100, 103)))
    eventually(lambda: made.got.endswith(b"102\n"))
    assert numbers(made.end()) == list(range(103))


def test_following_a_log_that_is_removed(tmp_path: Path) -> None:
    """As when a container is removed by force: it is shown to its end, and the reader neither waits nor spins."""
    write(tmp_path, entry("old\n"), entry("new\n"))
    made = os.memfd_create("shown")
    with LogReader(tmp_path, NAME, made, follow=True) as reader:
        for path in tmp_path.iterdir():
            path.unlink()
        while (progress := reader.step()) is Progress.MORE:
            continue
        assert progress is Progress.WAITING
        reader.finish()
        assert reader.step() is Progress.DONE
    assert os.pread(made, 100, 0) == b"old\nnew\n"
    os.close(made)


def test_a_frame_for_each_entry_that_is_followed(tmp_path: Path) -> None:
    """Clients that follow take a frame for a line."""
    write(tmp_path, numbered(range(50)))
    made = Following(tmp_path, multiplexed=True)
    assert frames(made.end()) == [(1, b"%d\n" % number) for number in range(50)]


def test_following_a_supervisor(folder: Folder) -> None:
    """What it logs is what is shown, through its rotations."""
    count = 30_000
    made = folder.launch(python(f"import os\nfor i in range({count}): os.write(1 + i % 2, b'%d\\n' % i)"), log_size=400_000, log_count=100)
    following = Following(folder.path, LOG, multiplexed=True)
    made.start()
    client = Client(made, multiplexed=True)
    threading.Thread(target=client.rest).start()
    made.wait(30)
    made.reap()
    shown_frames = frames(following.end())
    for stream in (1, 2):
        assert [int(text) for number, text in shown_frames if number == stream] == list(range(stream - 1, count, 2))
    again = frames(shown(folder.path, LOG, multiplexed=True))
    assert runs(again) == runs(shown_frames)


def test_replay_and_attach_leave_no_gap(folder: Folder) -> None:
    """The log up to the moment of the attachment, then what comes after it: each line once."""
    made = folder.launch(shell("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; read x"), open_stdin=True)
    made.start()
    here, there = socket.socketpair()
    answer = made.attach(there, held=True)
    if answer.log_size:
        with LogReader(folder.path, LOG, there.fileno(), limit=answer.log_size) as reader:
            reader.run()
    there.close()
    made.release(answer.value)
    made.close_stdin()
    got = b""
    while part := here.recv(1 << 16):
        got += part
    here.close()
    assert numbers(got) == list(range(3000))
