"""What the tables of integers and floats do not reach: hints, fences, the counter, system calls."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.native import cast, fence, i64, likely, native, native_from_source, ptr, syscall, ticks, u8, u64, unlikely
from gasang.native.intrinsics import INTRINSICS
from gasang.native.names import IntrinsicName
from support.native_twins import NAMESPACE, compiled

linux_only = pytest.mark.skipif(platform.system() != "Linux", reason="system calls are Linux's")
NUMBERS = {
    "x86_64": {"getpid": 39, "write": 1, "close": 3, "mmap": 9, "munmap": 11},
    "aarch64": {"getpid": 172, "write": 64, "close": 57, "mmap": 222, "munmap": 215},
}
CALLS = NUMBERS.get(platform.machine(), NUMBERS["x86_64"])
GETPID, WRITE, CLOSE, MMAP, MUNMAP = (CALLS[name] for name in ("getpid", "write", "close", "mmap", "munmap"))


@native
def hinted(x: u64, y: u64) -> u64:
    fence()
    if likely(x < y):
        return 1
    fence()
    return 2 if unlikely(x == y) else 3


@given(st.integers(0, 3), st.integers(0, 3))
def test_hints_change_nothing(x: int, y: int) -> None:
    assert hinted(x, y) == hinted.python(x, y) == (1 if x < y else 2 if x == y else 3)


@native
def elapsed(turns: u64) -> u64:
    start = ticks()
    total: u64 = 0
    for i in range(turns):
        fence()
        total += i
    return ticks() - start


def test_ticks_go_on() -> None:
    for run in (elapsed, elapsed.python):
        assert 0 < run(1000) < 2**62


@native
def process() -> i64:
    return syscall(GETPID)


@native
def write_bytes(descriptor: u64, data: ptr[u8], size: u64) -> i64:
    return syscall(WRITE, descriptor, u64(data), size)


@native
def map_and_write(size: u64, value: u8) -> i64:
    """Six arguments; then memory that nobody else has."""
    address = syscall(MMAP, 0, size, 3, 0x22, 0xFFFF_FFFF_FFFF_FFFF, 0)
    if address < 0:
        return address
    place = native_bytes(u64(address))
    place[size - 1] = value
    seen: i64 = i64(place[size - 1]) + i64(place[0])
    return seen + syscall(MUNMAP, u64(address), size)


@native
def native_bytes(address: u64) -> ptr[u8]:
    return cast(ptr[u8], address)


@linux_only
def test_system_calls() -> None:
    assert process() == process.python() == os.getpid()
    for run in (map_and_write, map_and_write.python):
        assert run(8192, 77) == 77
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        for run in (write_bytes, write_bytes.python):
            assert run(writer, (ctypes.c_uint8 * 5)(*b"hello"), 5) == 5
        os.close(writer)
        assert pipe.read() == b"hellohello"


@linux_only
def test_errors_of_system_calls_are_negative_numbers() -> None:
    for run in (write_bytes, write_bytes.python):
        assert run(999_999, 0, 0) == -errno.EBADF


@linux_only
@pytest.mark.parametrize("count", range(1, 8))
def test_any_number_of_arguments(count: int) -> None:
    """The kernel ignores those that a call does not take."""
    text = f"def f() -> i64:\n    return syscall({', '.join([str(GETPID), *map(str, range(1, count))])})"
    function = native_from_source(text, NAMESPACE)
    assert function() == function.python() == os.getpid()


def test_each_intrinsic_is_in_some_test() -> None:
    words = {word for path in Path(__file__).parent.glob("test_*.py") for word in re.findall(r"\w+", path.read_text("utf-8"))}
    assert set(INTRINSICS) - words == set()


def test_names_are_not_callable_in_python() -> None:
    assert isinstance(likely, IntrinsicName)
    assert repr(likely) == "<native intrinsic likely>"
    with pytest.raises(TypeError):
        likely(True)


def test_intrinsics_of_what_is_known_when_compiling() -> None:
    """LLVM computes these itself."""
    kinds = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
    texts = [
        f"def f() -> {kind}:\n    x: {kind} = 100\n    return rotl(x, 3) ^ rotr(x, 5) ^ bswap(x) ^ popcount(x) ^ clz(x) ^ ctz(x)"
        for kind in kinds
    ]
    functions = [native_from_source(text, NAMESPACE) for text in texts]
    for function, entry in zip(functions, compiled(functions), strict=True):
        assert entry() == function.python()
