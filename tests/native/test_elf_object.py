"""Reading the symbols of an object: any bytes give an answer or ValueError."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native.build import emit_object
from gasang.native.elf_object import undefined_symbols

TEXT = """
declare i64 @stranger(i64)
declare void @"another one"()
define internal i64 @inner(i64 %x) noinline {
  %r = call i64 @stranger(i64 %x)
  call void @"another one"()
  ret i64 %r
}
define i64 @entry0(i64 %x) {
  %r = call i64 @inner(i64 %x)
  ret i64 %r
}
"""


@pytest.fixture(scope="module")
def sound() -> bytes:
    return emit_object([TEXT], 2)


def test_undefined_symbols(sound: bytes) -> None:
    assert undefined_symbols(sound) == {"stranger", "another one"}


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for candidate in (data, b"\x7fELF\x02\x01" + data):
        with pytest.raises(ValueError, match=r"damaged|no 64-bit ELF"):
            undefined_symbols(candidate)


@settings(deadline=None)
@given(st.data())
def test_damaged_objects(sound: bytes, data: st.DataObject) -> None:
    """Where the headers are, anything; elsewhere, some bytes; cut short."""
    raw = bytearray(sound)
    (table,) = struct.unpack_from("<Q", raw, 0x28)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 63), st.integers(table, len(raw) - 1), st.integers(0, len(raw) - 1)))
        for offset, byte in enumerate(data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))):
            if place + offset < len(raw):
                raw[place + offset] = byte
    del raw[data.draw(st.integers(0, len(raw))) if data.draw(st.booleans()) else len(raw) :]
    try:
        names = undefined_symbols(bytes(raw))
    except ValueError:
        return
    assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize(
    ("offset", "layout", "value"), [(0x28, "<Q", 2**64 - 1), (0x28, "<Q", 2**63), (0x3C, "<H", 0xFFFF), (0x3A, "<H", 0)]
)
def test_hostile_headers(sound: bytes, offset: int, layout: str, value: int) -> None:
    raw = bytearray(sound)
    struct.pack_into(layout, raw, offset, value)
    with pytest.raises(ValueError, match="damaged"):
        undefined_symbols(bytes(raw))


def test_huge_symbol_table(sound: bytes) -> None:
    raw = bytearray(sound)
    (table,) = struct.unpack_from("<Q", raw, 0x28)
    size, count = struct.unpack_from("<HH", raw, 0x3A)
    for section in range(count):
        if struct.unpack_from("<I", raw, table + section * size + 4)[0] == 2:
            struct.pack_into("<Q", raw, table + section * size + 32, 2**64 - 1)
    with pytest.raises(ValueError, match="damaged"):
        undefined_symbols(bytes(raw))
