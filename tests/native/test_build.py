"""Compiling and linking: several roots at once, tables, libraries of functions, and calls that nobody answers."""

from __future__ import annotations

import ctypes
import platform
import threading
from typing import Any

import pytest

from gasang.core.errors import GasangError
from gasang.native import NativeFunction, native, native_from_source, ptr, struct, u8, u32, u64, u128
from gasang.native import build as build_module
from gasang.native.build import build, compile_object, emit_object
from gasang.native.builtins import BUILTINS, OPERATIONS
from gasang.native.elf_object import read_object
from gasang.native.function import python_entry
from gasang.native.llvm import ModuleEmitter
from gasang.native.loading import LinkError, link, target_machine, unresolved
from support.native_twins import NAMESPACE, Memory, compiled

SIEVE = """
def sieve(flags: ptr[{kind}], n: u64) -> u64:
    i: u64 = 2
    while i * i <= n:
        if flags[i] == 0:
            k: u64 = i * i
            while k <= n:
                flags[k] = 1
                k += i
        i += 1
    count: u64 = 0
    for j in range(2, n + 1):
        if flags[j] == 0:
            count += 1
    return count
"""
STRIDED = """
def strided(p: ptr[{kind}], n: u64, step: u64) -> None:
    k: u64 = 0
    while k < n:
        p[k] = p[k] + 3
        k += step
"""
WIDE_DIVISION = """
define i64 @entry0(ptr %p) {
  %a = load i128, ptr %p
  %place = getelementptr i128, ptr %p, i64 1
  %b = load i128, ptr %place
  %q = udiv i128 %a, %b
  store i128 %q, ptr %p
  ret i64 7
}
"""


@native
def triple(x: u64) -> u64:
    return x * 3


@native
def entry0(x: u64) -> u64:
    """Named like an entry point."""
    return memset(x) + 1


@native
def memset(x: u64) -> u64:
    """Named like a function of the C library that LLVM calls by itself."""
    return triple(x) + 100


@native(inline=False)
def divide_wide(x: u64) -> u64:
    """Named like one of the functions that are added for 128-bit division."""
    return u64(u128(x) * 5 // u128(x + 1))


@native
def fill_all(p: ptr[u8], n: u64) -> u64:
    for i in range(n):
        p[i] = 7
    return memset(n)


def other_triple() -> NativeFunction:
    return native_from_source("def triple(x: u64) -> u64:\n    return x * 3 + 1", NAMESPACE)


def test_several_roots_and_names_that_meet() -> None:
    roots = [triple, entry0, memset, divide_wide, other_triple(), triple]
    entries = compiled(roots)
    assert [entry(10) for entry in entries] == [root.python(10) for root in roots] == [30, 131, 130, 4, 31, 30]
    memory = (ctypes.c_uint8 * 100)()
    assert fill_all(memory, 100) == 400
    assert bytes(memory) == b"\7" * 100


def test_tables() -> None:
    first, second = triple, other_triple()
    built = build([first], {"entry0": [second, first, second], "empty": [], "table one": [first]})
    rows = {name: list(addresses) for name, addresses in built.tables.items()}
    assert {name: len(addresses) for name, addresses in rows.items()} == {"entry0": 3, "empty": 0, "table one": 1}
    call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)
    assert [call(address)(5) for address in rows["entry0"]] == [16, 15, 16]
    assert rows["table one"][0] == rows["entry0"][1]


# ---------------------------------------------------------------------- calls that nobody answers


@pytest.mark.parametrize("kind", ["u8", "u32", "u64"])
def test_strided_loops(kind: str) -> None:
    """Where AVX-512 is, LLVM has made a call of __udivti3 from loops like these, which the linker took for a call of address 0."""
    sieve, strided = (native_from_source(text.format(kind=kind), NAMESPACE) for text in (SIEVE, STRIDED))
    for function in (sieve, strided):
        assert unresolved(compile_object(ModuleEmitter([function]).emit(), 2)) == set()
    count, mark = compiled([sieve, strided])
    flags, numbers, again = Memory(8 * 10_001), Memory(8 * 500), Memory(8 * 500)
    assert count(flags.address, 10_000) == 1229
    for step in (1, 2, 3, 7, 64, 499, 10_000):
        mark(numbers.address, 500, step)
        strided.python(again.address, 500, step)
    assert numbers.read() == again.read()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="processor levels are those of x86-64")
def test_no_code_for_avx_512() -> None:
    import llvmlite.binding as llvm

    text = ModuleEmitter([native_from_source(STRIDED.format(kind="u32").replace("k += step", "k += 1"), NAMESPACE)]).emit()
    target = target_machine(2)
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    assembly = target.emit_assembly(module)
    assert "ymm" in assembly, "the loop is not vectorised: this test tells nothing"
    assert "zmm" not in assembly


@pytest.mark.parametrize("gap", [" ", "  "], ids=["seen in the text", "found in the object"])
def test_wide_division_comes_from_us(gap: str) -> None:
    """Where the text does not show that LLVM will call __udivti3 (here: for two spaces), the object does."""
    text = WIDE_DIVISION.replace("udiv i128", f"udiv{gap}i128")
    assert any(operation in text for operation in OPERATIONS) == (gap == " ")
    assert unresolved(build_module.emit_object([text], 2)) == {"__udivti3"}
    [entry] = link(compile_object(text, 2), 1, {}).entries
    memory = Memory(32)
    a, b = 2**127 + 12345, 2**65 + 3
    memory.write(a.to_bytes(16, "little") + b.to_bytes(16, "little"))
    assert ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(entry)(memory.address) == 7
    assert int.from_bytes(memory.read(16), "little") == a // b


def test_a_call_that_nobody_answers_is_refused() -> None:
    text = "declare i64 @stranger(i64)\ndefine i64 @entry0(i64 %x) {\n  %r = call i64 @stranger(i64 %x)\n  ret i64 %r\n}\n"
    with pytest.raises(LinkError) as caught:
        compile_object(text, 2)
    assert isinstance(caught.value, GasangError)
    assert str(caught.value) == "compiled code: it calls stranger, which nothing here provides"


def test_every_builtin_is_found_by_its_operation() -> None:
    assert set(OPERATIONS.values()) == set(BUILTINS)
    assert all(function.external_name == name for name, function in BUILTINS.items())


@struct
class Header:
    a: u32
    b: u32
    c: u64
    d: u64
    e: u64
    f: u64


@native
def length_of(text: ptr[u8]) -> u64:
    """What LLVM knows as strlen."""
    n: u64 = 0
    while text[n] != 0:
        n += 1
    return n


@native
def equal_bytes(p: ptr[u8], q: ptr[u8]) -> u64:
    """What it knows as memcmp."""
    for i in range(u64(64)):
        if p[i] != q[i]:
            return 0
    return 1


@native
def equal_headers(p: ptr[Header], q: ptr[Header]) -> u64:
    """And this."""
    same = p.a == q.a and p.b == q.b and p.c == q.c and p.d == q.d and p.e == q.e and p.f == q.f
    return u64(same)


def test_loops_that_look_like_the_c_library() -> None:
    text = ctypes.create_string_buffer(b"x" * 77)
    assert length_of(text) == length_of.python(text) == 77
    one, other = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    for place in (None, 0, 7, 39):
        if place is not None:
            other[place] = b"!"
        assert equal_bytes(one, other) == equal_bytes.python(one, other) == int(place is None)
        assert equal_headers(one, other) == equal_headers.python(one, other) == int(place is None)
        other[place or 0] = b"\0"


# ---------------------------------------------------------------------- the rest


@pytest.mark.parametrize("optimise", [0, 1, 2, 3])
def test_every_level_of_optimisation(optimise: int) -> None:
    sieve = native_from_source(SIEVE.format(kind="u8"), NAMESPACE)
    entry = python_entry(sieve, build([sieve], optimise=optimise).entries[0])
    assert entry(Memory(1001).address, 1000) == 168


def test_threads_may_compile_at_once() -> None:
    functions = [native_from_source(f"def f(x: u64) -> u64:\n    return x * {n} + {n}", NAMESPACE) for n in range(1, 9)]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda function=function: results.append(function(10))) for function in functions for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted([11 * n for n in range(1, 9)] * 2)


def test_a_function_in_a_section_of_its_own_calls_what_is_elsewhere() -> None:
    away = native_from_source("def away(x: u64) -> u64:\n    return x\n", NAMESPACE, external_name="far.away", elsewhere=True)
    near = native_from_source("def near(x: u64) -> u64:\n    return away(x + 1)\n", {**NAMESPACE, "away": away}, section="text.near")
    made = read_object(emit_object([ModuleEmitter([], {"code": [near]}).emit()], 2))
    (section,) = [section for section in made.sections.values() if section.name == "text.near"]
    assert section.data
    assert {relocation.symbol.name for relocation in made.relocations if relocation.section == section.index} == {"far.away"}
    assert [symbol.section for symbol in made.symbols if symbol.name == "far.away"] == [0]
