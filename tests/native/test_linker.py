"""Our linker: it gives what LLVM's gives, or refuses; damaged objects are never linked."""

from __future__ import annotations

import ctypes
import platform
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import atomic_add, copy, fill, loading, native, native_from_source, ptr, u8, u32, u64
from gasang.native.build import compile_object, emit_object
from gasang.native.elf_object import read_object
from gasang.native.image import Image
from gasang.native.linker import PAGE, UnlinkableError, link_image
from gasang.native.llvm import ModuleEmitter
from gasang.native.loading import LinkError, host_symbols, link, linked, place, symbols_of
from gasang.native.relocate import RelocationError
from support.native_twins import NAMESPACE

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the linker is of x86-64 code")

BASE = 0x7F00_0000_0000
CHOICE = """
def choose(x: u64) -> u64:
    {branches}
    return 99
""".format(branches="\n    ".join(f"if x == {n}:\n        return {n * n * 7919 % 1000}" for n in range(40)))


@native
def moves(to: ptr[u8], from_: ptr[u8], n: u64) -> u64:
    """Calls memmove and memset, which lie far away."""
    copy(to, from_, n)
    fill(from_, 3, n)
    return n


@native
def counts(p: ptr[u32]) -> u32:
    return atomic_add(p, 2)


choose = native_from_source(CHOICE, NAMESPACE)
scaled = native_from_source("def scaled(x: u64) -> u64:\n    return u64(f64(x) * 0.37)", NAMESPACE)
ROOTS = [moves, counts, choose, scaled]
NAMES = symbols_of(len(ROOTS), {"t": 2})


@pytest.fixture(scope="module")
def sound() -> bytes:
    return compile_object(ModuleEmitter(ROOTS, {"t": [choose, scaled]}).emit(), 2)


@pytest.fixture(scope="module")
def image(sound: bytes) -> Image:
    return link_image(read_object(sound), NAMES, host_symbols())


@pytest.mark.parametrize("ours", [True, False], ids=["by us", "by LLVM"])
def test_linked_code_runs(sound: bytes, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "can_make_code", lambda: ours)
    kept = linked(sound, NAMES)
    assert (kept == sound) == (not ours)
    addresses = place(kept, NAMES)
    word, number = ctypes.c_uint64, ctypes.c_uint32
    to, source = ctypes.create_string_buffer(100), ctypes.create_string_buffer(b"y" * 100, 100)
    move = ctypes.CFUNCTYPE(word, ctypes.c_void_p, ctypes.c_void_p, word)(addresses[0])
    assert move(ctypes.addressof(to), ctypes.addressof(source), 100) == 100
    assert (to.raw, source.raw) == (b"y" * 100, b"\3" * 100)
    cell = number(40)
    assert ctypes.CFUNCTYPE(number, ctypes.c_void_p)(addresses[1])(ctypes.addressof(cell)) == 40
    assert cell.value == 42
    pick = ctypes.CFUNCTYPE(word, word)(addresses[2])
    assert [pick(n) for n in range(41)] == [*(n * n * 7919 % 1000 for n in range(40)), 99]
    assert ctypes.CFUNCTYPE(word, word)(addresses[3])(1000) == 370
    assert ctypes.CFUNCTYPE(word, word)(word.from_address(addresses[4]).value)(3) == 9 * 7919 % 1000


def rights(address: int) -> str:
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            span, flags, *_ = line.split()
            low, high = (int(part, 16) for part in span.split("-"))
            if low <= address < high:
                return flags
    return "unmapped"


@pytest.mark.skipif(platform.system() != "Linux", reason="asks /proc")
def test_code_cannot_be_written_nor_data_run(sound: bytes) -> None:
    addresses = place(linked(sound, NAMES), NAMES)
    assert rights(addresses[0]) == "r-xp"
    assert rights(addresses[-1]) == "r--p"


def test_code_and_constants_have_pages_of_their_own(image: Image) -> None:
    assert len(image.content) % PAGE == image.executable % PAGE == 0
    assert all((offset < image.executable) == name.startswith("entry") for name, offset in image.symbols.items())
    assert all(offset >= image.executable for offset in image.absolutes)
    assert sorted(image.hosts.values()) == ["memmove", "memset"]
    assert all(offset < image.executable for offset in image.hosts)


def test_an_image_depends_on_its_address_in_absolute_words_alone(image: Image) -> None:
    one, other = (image.at(base, host_symbols()) for base in (BASE, BASE + PAGE))
    different = {offset for offset in range(0, len(one), 8) if one[offset : offset + 8] != other[offset : offset + 8]}
    assert different == set(image.absolutes)
    for offset in different:
        first, second = (struct.unpack_from("<Q", placed, offset)[0] for placed in (one, other))
        assert second - first == PAGE
        assert BASE <= first < BASE + len(one)


# ---------------------------------------------------------------------- refused


REFUSED = {
    "a variable": "@v = global i64 5\ndefine i64 @entry0() {\n %r = load i64, ptr @v\n ret i64 %r\n}",
    "zeroes to be written": "@v = global i64 0\ndefine i64 @entry0() {\n store i64 1, ptr @v\n ret i64 1\n}",
    "a thread's variable": "@v = thread_local global i64 5\ndefine i64 @entry0() {\n %r = load i64, ptr @v\n ret i64 %r\n}",
    "a stranger's data": "@v = external global i64\ndefine i64 @entry0() {\n %r = load i64, ptr @v\n ret i64 %r\n}",
    "a stranger": "declare i64 @stranger()\ndefine i64 @entry0() {\n %r = call i64 @stranger()\n %s = add i64 %r, 1\n ret i64 %s\n}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises((UnlinkableError, RelocationError)):
        link_image(read_object(emit_object([text], 2)), ["entry0"], host_symbols())


def test_a_variable_is_left_to_llvm() -> None:
    [entry] = link(emit_object([REFUSED["a variable"]], 2), 1, {}).entries
    assert ctypes.CFUNCTYPE(ctypes.c_uint64)(entry)() == 5


def test_a_stranger_is_named() -> None:
    with pytest.raises(LinkError, match="it calls stranger, which nothing here provides"):
        link(emit_object([REFUSED["a stranger"]], 2), 1, {})


def test_code_of_another_processor(sound: bytes) -> None:
    raw = bytearray(sound)
    raw[0x12] = 183
    with pytest.raises(UnlinkableError, match="machine 183"):
        link_image(read_object(bytes(raw)), NAMES, host_symbols())


def test_a_symbol_that_is_not_there(sound: bytes) -> None:
    with pytest.raises(ValueError, match="no entry4"):
        link(sound, 10, {})


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_objects_are_linked_inside_their_image_or_refused(sound: bytes, data: st.DataObject) -> None:
    raw = bytearray(sound)
    (table,) = struct.unpack_from("<Q", raw, 0x28)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 63), st.integers(table, len(raw) - 1), st.integers(0, len(raw) - 1)))
        for offset, byte in enumerate(data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))):
            if at + offset < len(raw):
                raw[at + offset] = byte
    try:
        image = link_image(read_object(bytes(raw)), NAMES, host_symbols())
    except (ValueError, RelocationError):
        return
    assert all(0 <= offset <= len(image.content) for offset in image.symbols.values())
    assert len(image.at(BASE, host_symbols())) == len(image.content)
