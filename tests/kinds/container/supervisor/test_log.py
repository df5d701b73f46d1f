"""The log: Docker's format, line by line; pieces of long lines; files that rotate at exact sizes; disks that are full."""

from __future__ import annotations

import ctypes
import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.kinds.container.supervisor.state import PIECE
from gasang.kinds.container.supervisor.text import escape, find_newline, put_decimal, put_time
from support.supervised import LOG, Client, Folder, eventually, plan_of, python, shell

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")


def escaped(text: bytes, call: object = escape) -> bytes:
    to = (ctypes.c_uint8 * (len(text) * 6 + 8))()
    room = ctypes.c_uint64()
    source = (ctypes.c_uint8 * max(len(text), 1)).from_buffer_copy(text or b"\0")
    return bytes(to[: call(to, source, len(text), room)])  # type: ignore[operator]


def expected(text: bytes) -> bytes:
    """A JSON string as Docker has it: each byte of what is no UTF-8 becomes a replacement character."""
    made = []
    at = 0
    while at < len(text):
        for size in (1, 2, 3, 4):
            try:
                character = text[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            if character:
                break
        else:
            character, size = "", 1
        at += size
        if not character:
            made.append("\\ufffd")
        elif character in '"\\':
            made.append("\\" + character)
        elif character in "\n\r":
            made.append({"\n": "\\n", "\r": "\\r"}[character])
        elif character < " " or character in "<>&\u2028\u2029":
            made.append(f"\\u{ord(character):04x}")
        else:
            made.append(character)
    return "".join(made).encode()


TEXTS = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.text(max_size=20).map(str.encode),
        st.sampled_from(
            [b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xef\xbf\xbd", b'"\\<>&\x7f\r\t\0']
        ),
        st.integers(0, 40).map(lambda n: b"plain text, no marks " * n),
    ),
    max_size=8,
).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_escaping(text: bytes) -> None:
    assert escaped(text) == expected(text)


@settings(deadline=None, max_examples=20)
@given(TEXTS.filter(lambda text: len(text) < 60))
def test_escaping_as_plain_python(text: bytes) -> None:
    assert escaped(text, escape.python) == expected(text)


@given(st.integers(0, 40), st.integers(0, 40), st.binary(max_size=8))
def test_newlines(before: int, after: int, text: bytes) -> None:
    data = b"\x0b\x8a" * before + text + b"\x09" * after
    source = (ctypes.c_uint8 * (len(data) + 1)).from_buffer_copy(data + b"\n")
    assert find_newline(source, len(data)) == (data.find(b"\n") if b"\n" in data else len(data))


@given(st.integers(0, 1 << 34), st.one_of(st.integers(0, 999_999_999), st.sampled_from([0, 1, 100, 500_000_000, 999_999_990])))
def test_times(seconds: int, fraction: int) -> None:
    to = (ctypes.c_uint8 * 32)()
    text = bytes(to[: put_time(to, seconds * 10**9 + fraction)]).decode()
    assert TIME.fullmatch(text)
    assert text[:19] == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").zfill(19)
    assert int((text[20:-1] or "0").ljust(9, "0")) == fraction


@given(st.integers(0, 2**32 - 1))
def test_decimals(value: int) -> None:
    to = (ctypes.c_uint8 * 10)()
    assert bytes(to[: put_decimal(to, value)]) == str(value).encode()


# ---------------------------------------------------------------------- lines and pieces


def output(folder: Folder, data: bytes, **options: object) -> None:
    """Run a process that puts out exactly these bytes."""
    (folder.path / "data").write_bytes(data)
    folder.run(plan_of("/bin/cat", str(folder.path / "data")), **options)


def pieces(data: bytes) -> list[bytes]:
    """The entries that bytes make."""
    made = []
    for line in data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n|[^\n]+", data):
        text = line.rstrip(b"\n") if line.endswith(b"\n") else line
        parts = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [b""]
        if line.endswith(b"\n"):
            if len(parts[-1]) == PIECE:
                parts.append(b"")
            parts[-1] += b"\n"
        made += parts
    return made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"one\n",
        b"no end",
        b"\n\n\n",
        b"x" * (PIECE - 1) + b"\n",
        b"x" * PIECE + b"\n",
        b"x" * (PIECE + 1) + b"\n",
        b"x" * PIECE,
        b"y" * (5 * PIECE) + b"z\n" + b"end",
        b"short\n" + b"x" * (3 * PIECE + 5) + b"\nshort\n",
        b"\x00\x01\n" * 3000,
        b"\x01" * (4 * PIECE) + b"\n",
    ],
    ids=lambda data: f"{len(data)}",
)
def test_lines(folder: Folder, data: bytes) -> None:
    output(folder, data)
    entries = folder.entries()
    assert [entry["log"].encode() for entry in entries] == pieces(data)
    assert all(entry["stream"] == "stdout" and TIME.fullmatch(entry["time"]) and len(entry) == 3 for entry in entries)


def test_the_exact_form(folder: Folder) -> None:
    before = time.time_ns()
    folder.run(shell(r"printf '<\303\251\377&\tend>\n'; sleep 0.1; echo err >&2"))
    after = time.time_ns()
    raw = (folder.path / LOG).read_text()
    entries = folder.entries()
    assert [re.sub(TIME, "T", line) for line in raw.splitlines()] == [
        '{"log":"\\u003cé\\ufffd\\u0026\\u0009end\\u003e\\n","stream":"stdout","time":"T"}',
        '{"log":"err\\n","stream":"stderr","time":"T"}',
    ]
    seconds = [datetime.fromisoformat(entry["time"]).timestamp() for entry in entries]
    assert before / 1e9 - 0.001 < seconds[0] < seconds[1] < after / 1e9 + 0.001
    assert seconds[1] - seconds[0] > 0.09


def test_pieces_of_a_line_have_one_time(folder: Folder) -> None:
    text = f"import os, time\nos.write(1, b'x' * {PIECE + 10})\ntime.sleep(0.1)\nos.write(1, b'y' * {PIECE} + b'\\nnext\\n')"
    folder.run(python(text))
    entries = folder.entries()
    assert [len(entry["log"]) for entry in entries] == [PIECE, PIECE, 11, 5]
    assert entries[0]["time"] == entries[1]["time"] == entries[2]["time"] != entries[3]["time"]


def test_a_line_in_drops(folder: Folder) -> None:
    folder.run(python("import os, time\nfor b in b'drip drop\\nend':\n    os.write(1, bytes([b])); time.sleep(0.002)"))
    assert [entry["log"] for entry in folder.entries()] == ["drip drop\n", "end"]


def test_a_begun_line_is_not_logged_yet_but_sent(folder: Folder) -> None:
    made = folder.launch(shell("printf begun; read x; echo done"), open_stdin=True)
    client = Client(made, stdin=True)
    made.start()
    client.until(b"begun")
    assert folder.entries() == []
    client.socket.sendall(b"\n")
    assert client.rest() == b"done\n"
    assert [entry["log"] for entry in folder.entries()] == ["begundone\n"]


def test_characters_cut_at_a_piece(folder: Folder) -> None:
    output(folder, b"x" * (PIECE - 1) + "é".encode() + b"\n")
    assert [entry["log"][-1:] for entry in folder.entries()] == ["\ufffd", "\n"]
    assert folder.entries()[1]["log"] == "\ufffd\n"


def test_no_log(folder: Folder) -> None:
    output(folder, b"lines\n" * 100_000, log="")
    assert not (folder.path / LOG).exists()


# ---------------------------------------------------------------------- files


def sizes(folder: Folder) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.path.glob(f"{LOG}*"))}


def test_rotation_at_exact_limits(folder: Folder) -> None:
    """A file takes entries while it is smaller than the limit: the one that reaches it is its last."""
    lines = [b"%04d" % i + b"a" * 46 for i in range(40)]
    output(folder, b"\n".join(lines) + b"\n", log_size=1, log_count=50)
    assert len(sizes(folder)) == 40, "each entry reaches the limit"
    one = next(iter(sizes(folder).values()))
    for path in folder.path.glob(f"{LOG}*"):
        path.unlink()
    entry = one - 20  # the time has up to nine digits
    output(folder, b"\n".join(lines) + b"\n", log_size=entry * 4, log_count=50)
    counts = {name: len(folder.entries(name)) for name in sizes(folder)}
    assert sum(counts.values()) == 40
    assert all(size >= entry * 4 for name, size in sizes(folder).items() if name != LOG)
    assert all(size - one < entry * 4 for size in sizes(folder).values())
    order = [LOG] + [f"{LOG}.{n}" for n in range(1, len(counts))]
    assert set(order) == set(counts)
    assert [e["log"].encode().rstrip(b"\n") for name in reversed(order) for e in folder.entries(name)] == lines


def test_the_oldest_goes(folder: Folder) -> None:
    output(folder, b"".join(b"%06d\n" % i for i in range(20_000)), log_size=100_000, log_count=3)
    assert list(sizes(folder)) == [LOG, f"{LOG}.1", f"{LOG}.2"]
    numbers = [int(e["log"]) for name in (f"{LOG}.2", f"{LOG}.1", LOG) for e in folder.entries(name)]
    assert numbers == list(range(20_000 - len(numbers), 20_000))
    assert all(100_000 <= size < 100_200 for name, size in sizes(folder).items() if name != LOG)


def test_one_file_only(folder: Folder) -> None:
    output(folder, b"".join(b"%06d\n" % i for i in range(5000)), log_size=50_000, log_count=1)
    assert list(sizes(folder)) == [LOG]
    numbers = [int(e["log"]) for e in folder.entries()]
    assert numbers == list(range(5000 - len(numbers), 5000))
    assert sizes(folder)[LOG] < 50_200


def test_going_on_with_an_old_log(folder: Folder) -> None:
    """It grows on; what a crash has cut off gets its end; its size counts."""
    (folder.path / LOG).write_bytes(b'{"log":"old\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n{"log":"cut off by a cra')
    output(folder, b"new\n", log_size=10_000, log_count=2)
    lines = (folder.path / LOG).read_bytes().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[2])["log"] == "new\n"
    output(folder, b"next\n", log_size=100, log_count=2)
    assert [entry["log"] for entry in folder.entries()] == ["next\n"]
    assert (folder.path / f"{LOG}.1").read_bytes().splitlines() == lines


def test_reopening(folder: Folder) -> None:
    made = folder.launch(plan_of("/bin/cat"), open_stdin=True)
    client = Client(made, stdin=True)
    made.start()
    client.socket.sendall(b"one\n")
    client.until(b"one\n")
    (folder.path / LOG).rename(folder.path / "moved")
    made.reopen_log()
    client.socket.sendall(b"two\n")
    client.until(b"two\n")
    made.close_stdin()
    made.wait(10)
    assert [e["log"] for e in folder.entries("moved")] == ["one\n"]
    assert [e["log"] for e in folder.entries()] == ["two\n"]


def test_a_link_is_no_log(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (folder.path / LOG).symlink_to(tmp_path / "target")
    made = folder.launch_raw(shell("echo bad"))
    made.reap()
    assert (tmp_path / "target").read_text() == ""


def test_a_full_disk(folder: Folder, tmp_path: Path) -> None:
    """Output goes on to clients; the log stays whole lines; the loss is told; when there is room again, it goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=256k none {disk} 2>/dev/null") != 0:
        pytest.skip("needs to mount a small file system")
    try:
        small = Folder(disk)
        made = small.launch(shell("yes 'a line of output' | head -n 40000; read x; echo last"), open_stdin=True)
        client = Client(made, stdin=True)
        made.start()
        got = b""
        while got.count(b"\n") < 40_000:
            got += client.socket.recv(1 << 16)
        lost = eventually(lambda: made.status().lost)
        assert lost > 1_000_000
        assert all(entry["log"] == "a line of output\n" for entry in small.entries())
        os.truncate(disk / LOG, 0)
        client.socket.sendall(b"\n")
        client.rest()
        ended = made.wait(10)
        assert ended.code == 0
        assert small.entries()[-1]["log"] == "last\n"
        small.close()
    finally:
        os.system(f"umount -l {disk}")
