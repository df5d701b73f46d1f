"""Programs: made of native functions alone, started by the kernel, and kept in the cache."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError
from gasang.native import (
    NativeError,
    NativeFunction,
    address_of,
    cast,
    copy,
    emit_floats,
    fill,
    function_type,
    i32,
    native,
    native_from_source,
    ptr,
    syscall,
    u8,
    u64,
    u128,
)
from gasang.native import program as program_module
from gasang.native.cache import ObjectCache
from gasang.native.kept_program import kept_program
from gasang.native.loading import LinkError
from gasang.native.memory_functions import MEMORY_FUNCTIONS
from gasang.native.program import program, program_file
from gasang.native.relocate import MACHINES
from gasang.native.target import level, made_for
from support.native_twins import Memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are Linux executables")
WRITE = {"x86_64": 1, "aarch64": 64, "riscv64": 64}
HOST = emit_floats.machine()
HELLO = int.from_bytes(b"hello\n", "little")
SIGNATURE = function_type([u64], u64)


@native
def length_of(text: ptr[u8]) -> u64:
    n: u64 = 0
    while text[n] != 0:
        n += 1
    return n


@native(inline=False)
def show(number: u64, text: ptr[u8], n: u64) -> None:
    syscall(number, 1, u64(text), n)


@native(inline=False)
def twice(x: u64) -> u64:
    return x * 2


@native(inline=False)
def thrice(x: u64) -> u64:
    return x * 3


@native(inline=False)
def chosen(x: u64) -> u64:
    """A chain that becomes a table of jumps or of values."""
    if x == 0:
        return 1000
    if x == 1:
        return 77
    if x == 2:
        return 12345
    if x == 3:
        return 3
    if x == 4:
        return 999_999_999_999
    if x == 5:
        return 31
    return 6


@native
def echo(stack: ptr[u64], data: ptr[u8]) -> i32:
    """Say hello, print the arguments but the first, then the data (its length in the first 8 bytes); end with the number of arguments."""
    number = cast(ptr[u64], data)[0]
    argc = stack[0]
    for i in range(1, argc):
        text = cast(ptr[u8], stack[i + 1])
        n = length_of(text)
        show(number, text, n)
        text[0] = 10
        show(number, text, 1)
    show(number, data + 16, cast(ptr[u64], data)[1])
    return i32(argc)


@native
def compute(stack: ptr[u64], data: ptr[u8]) -> i32:
    """Calls through pointers, a table of jumps, wide division, memory functions, variables of the stack: sums that must come out."""
    argc = stack[0]
    f = address_of(twice) if argc == 1 else address_of(thrice)
    wrong: i32 = 0
    if f(argc + 4) != (10 if argc == 1 else 18):
        wrong |= 1
    if chosen(argc) + chosen(argc + 2) + chosen(argc + 3) != (77 + 3 + 999_999_999_999 if argc == 1 else 12345 + 999_999_999_999 + 31):
        wrong |= 2
    wide: u128 = (u128(argc) << 100) + 12345
    if u64(wide // (u128(argc) << 40)) != 1 << 60:
        wrong |= 4
    room = cast(ptr[u8], u64(stack) - 100_000)
    copy(room, data, argc * 3000)
    for i in range(argc * 3000):
        if room[i] != u8(i * 7):
            wrong |= 8
    copy(room + argc * 3, room, argc * 2000)
    if room[argc * 3 + 700] != u8(4900):
        wrong |= 16
    fill(room, 9, argc * 999)
    if room[0] + room[argc * 998] != 18 or room[argc * 999] == 9:
        wrong |= 32
    return wrong


@native
def endless(stack: ptr[u64]) -> i32:
    return 300 if stack[0] == 1 else -1


def header(number: int, body: bytes) -> bytes:
    return struct.pack("<QQ", number, len(body)) + body


def run(path: Path, *arguments: str, runner: tuple[str, ...] = ()) -> tuple[int, bytes]:
    made = subprocess.run([*runner, path, *arguments], stdout=subprocess.PIPE, timeout=20, check=False)
    return made.returncode, made.stdout


PATTERN = bytes(i * 7 & 0xFF for i in range(6000))


def test_arguments_data_and_exit_code(tmp_path: Path) -> None:
    big = bytes(range(256)) * 4096
    path = program_file(echo, data=header(WRITE[HOST], big), cache=ObjectCache(tmp_path))
    assert run(path, "one", "", "three 3") == (4, b"one\n\nthree 3\n" + big)
    assert run(path) == (1, big)


def test_code_that_needs_help() -> None:
    path = program_file(compute, data=PATTERN)
    assert run(path) == (0, b"")
    assert run(path, "more") == (0, b"")


def test_exit_codes_are_bytes() -> None:
    path = program_file(endless)
    assert [run(path)[0], run(path, "x")[0]] == [300 & 0xFF, 255]


# ---------------------------------------------------------------------- other processor families


OTHERS = [family for family in MACHINES if family != HOST]


def emulator(family: str) -> str:
    return f"qemu-{family}-static"


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_link(family: str, tmp_path: Path) -> None:
    for entry in (compute, endless, echo):
        image = program(entry, data=PATTERN, family=family, cache=ObjectCache(tmp_path))
        assert struct.unpack_from("<H", image, 18) == (MACHINES[family],)
        assert image != program(entry, data=PATTERN, cache=ObjectCache(tmp_path)), "each family's is kept for itself"


@pytest.mark.parametrize("optimise", [0, 2])
@pytest.mark.parametrize("family", OTHERS)
def test_other_families_run(family: str, optimise: int, tmp_path: Path) -> None:
    if shutil.which(emulator(family)) is None:
        pytest.skip(f"needs {emulator(family)} (Debian: qemu-user-static)")

    def ended(entry: NativeFunction, data: bytes, *arguments: str) -> tuple[int, bytes]:
        path = tmp_path / entry.__name__
        path.write_bytes(program(entry, data=data, optimise=optimise, family=family, cache=ObjectCache(tmp_path)))
        path.chmod(0o700)
        return run(path, *arguments, runner=(emulator(family),))

    assert ended(compute, PATTERN) == (0, b"")
    assert ended(compute, PATTERN, "x") == (0, b"")
    assert ended(endless, b"", "x") == (255, b"")
    assert ended(echo, header(WRITE[family], b"data"), "one", "", "three 3") == (4, b"one\n\nthree 3\ndata")


def test_the_routine_of_foreign_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emit_floats, "is_foreign", lambda: True)
    path = tmp_path / "echo"
    path.write_bytes(program_module.link_program(echo, header(WRITE[HOST], b"data"), 2))
    path.chmod(0o700)
    assert run(path, "one") == (2, b"one\ndata")


# ---------------------------------------------------------------------- what the file is like


def segments(image: bytes) -> list[tuple[int, ...]]:
    count = struct.unpack_from("<H", image, 56)[0]
    return [struct.unpack_from("<IIQQQQQQ", image, 64 + 56 * index) for index in range(count)]


def test_no_page_is_written_and_executed() -> None:
    image = program(compute, data=PATTERN)
    found = segments(image)
    loaded = [row for row in found if row[0] == 1]
    assert all(flags & 3 != 3 for _, flags, *_ in found)
    assert next(row for row in found if row[0] == 0x6474E551)[1] == 6
    assert struct.unpack_from("<H", image, 16)[0] == 3, "it lies where it is put"
    pages = [set(range(row[3] // row[7], -(-(row[3] + row[6]) // row[7]))) for row in loaded]
    assert len(set.union(*pages)) == sum(map(len, pages))
    assert all(row[2] % row[7] == row[3] % row[7] and row[2] + row[5] <= len(image) for row in loaded)
    entry = struct.unpack_from("<Q", image, 24)[0]
    assert any(row[3] <= entry < row[3] + row[5] and row[1] == 5 for row in loaded)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "text",
    [
        "def f(stack: ptr[u64]) -> u64:\n    return 1",
        "def f() -> i32:\n    return 1",
        "def f(stack: ptr[u8]) -> i32:\n    return 1",
        "def f(stack: ptr[u64], data: ptr[u8], more: u64) -> i32:\n    return 1",
    ],
)
def test_signatures(text: str) -> None:
    function = native_from_source(text, {"ptr": ptr, "u64": u64, "i32": i32, "u8": u8}, file="somewhere.py")
    with pytest.raises(NativeError, match=r"somewhere\.py:1: a program is a function"):
        program(function)


def test_functions_that_fault_are_no_programs() -> None:
    function = native_from_source("def f(stack: ptr[u64]) -> i32:\n    return 1", {"ptr": ptr, "u64": u64, "i32": i32}, may_fault=True)
    with pytest.raises(NativeError, match="does not fault"):
        program(function)


def test_a_call_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "_PROVIDED", {})
    with pytest.raises(LinkError, match=r"compiled code: it calls .*memset.*, which nothing here provides"):
        program(compute, data=b"another")


# ---------------------------------------------------------------------- the cache


def program_of(cache: ObjectCache) -> Path:
    [path] = cache.directory.glob("*/*.program")
    return path


@pytest.mark.parametrize("damage", ["cut", "changed", "longer", "empty", "gone", "writable", "not executable"])
def test_a_damaged_file_is_written_anew(damage: str, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    path = program_file(endless, cache=cache)
    sound = path.read_bytes()
    changes = {"cut": sound[:-9], "changed": sound[:-1] + bytes([sound[-1] ^ 1]), "longer": sound + b"x", "empty": b""}
    if damage in changes:
        path.write_bytes(changes[damage])
    elif damage == "gone":
        path.unlink()
    else:
        path.chmod(0o777 if damage == "writable" else 0o600)
    assert program_file(endless, cache=cache) == path == program_of(cache)
    assert path.read_bytes() == sound
    assert path.stat().st_mode & 0o7777 == 0o700


def test_a_damaged_object_is_made_anew(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    sound = program(endless, cache=cache)
    [entry] = cache.directory.glob("*/*")
    entry.write_bytes(entry.read_bytes()[:-3])
    assert program(endless, cache=cache) == sound
    assert cache.load(entry.name) == sound


def test_sources_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, source = ObjectCache(tmp_path / "cache"), tmp_path / "source.py"
    made: list[NativeFunction] = []
    monkeypatch.setattr(program_module, "link_program", lambda entry, data, optimise: made.append(entry) or b"made")
    for text, count in (("one", 1), ("one", 1), ("two", 2), ("one", 2)):
        source.write_text(text)
        assert program(endless, sources=[source], cache=cache) == b"made"
        assert len(made) == count


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutOfSpaceError, match=r"program endless: it cannot be written to .*GASANG_NATIVE_CACHE"):
        program_file(endless, cache=ObjectCache(tmp_path / "file"))


# ---------------------------------------------------------------------- memory functions


@pytest.mark.parametrize("count", [0, 1, 7, 31, 32, 33, 64, 100, 255])
def test_memory_functions(count: int) -> None:
    copied, moved, filled = (MEMORY_FUNCTIONS[name] for name in ("memcpy", "memmove", "memset"))
    compiled_move, compiled_fill = native(moved.__wrapped__), native(filled.__wrapped__)  # under names of their own
    content = bytes((i * 13 + 1) & 0xFF for i in range(300))
    for function in (copied.python, compiled_move):
        source, to = Memory(300), Memory(300)
        source.write(content)
        assert function(to.address, source.address, count) == to.address
        assert to.read() == content[:count] + bytes(300 - count)
    for shift in (-33, -16, -1, 0, 1, 15, 16, 40):
        for call in (moved.python, compiled_move):
            memory = Memory(400)
            memory.write(content)
            call(memory.address + 40 + shift, memory.address + 40, count)
            wanted = bytearray(content + bytes(100))
            wanted[40 + shift : 40 + shift + count] = content[40 : 40 + count]
            assert memory.read() == bytes(wanted)
    for call in (filled.python, compiled_fill):
        memory = Memory(300)
        memory.write(content)
        call(memory.address, 0x1F3, count)
        assert memory.read() == b"\xf3" * count + content[count:]


def test_kept_by_its_files(tmp_path: Path) -> None:
    """The function is asked for only where the files say something new, or what is kept is damaged."""
    cache, folder = ObjectCache(tmp_path / "cache"), tmp_path / "sources"
    folder.mkdir()
    source = folder / "source.py"
    made: list[NativeFunction] = []

    def make() -> NativeFunction:
        made.append(endless)
        return endless

    for text, count in (("one", 1), ("one", 1), ("two", 2), ("one", 2)):
        source.write_text(text)
        image = kept_program("endless", [str(folder)], make, cache=cache)
        assert len(made) == count
        assert image == program(endless, cache=ObjectCache(tmp_path / "other"))
    for entry in cache.directory.glob("*/*"):
        entry.write_bytes(entry.read_bytes()[:-1])
    assert kept_program("endless", [str(folder)], make, cache=cache) == image
    assert kept_program("endless", [str(folder)], make, data=b"more", cache=cache) != image
    assert len(made) == 4
    for family in MACHINES:
        foreign = kept_program("endless", [str(folder)], make, cache=cache, family=family)
        assert struct.unpack_from("<H", foreign, 18) == (MACHINES[family],)
        assert kept_program("endless", [str(folder)], make, cache=cache, family=family) == foreign
    assert kept_program("endless", [str(folder)], make, cache=cache) == image


def test_a_program_for_guests_asks_for_no_more_than_all_of_a_family_have() -> None:
    assert level() == ("x86-64-v3", "") or HOST != "x86_64"
    with made_for("x86_64", plain=True):
        assert level() == ("x86-64", "")
        with made_for(""):
            assert level() != ("x86-64", "")
    with made_for("riscv64", plain=True):
        assert level() == ("generic-rv64", "+m,+a,+f,+d,+c")
