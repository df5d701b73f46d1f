"""Control flow and order of evaluation: compiled, as the twin, and by CPython itself."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import Fault, NativeFunction, native_from_source
from gasang.native.types import IntType, i64, ptr, u8, u64
from support.native_programs import HELPERS, SIZE, Author
from support.native_twins import INTEGERS, NAMESPACE, compiled

PROGRAMS = 30


def attempt(function: Callable[..., None], *arguments: Any) -> bool:
    try:
        function(*arguments)
    except Fault:
        return False
    return True


@cache
def written(seed: int) -> tuple[list[NativeFunction], list[Callable[..., int]], dict[str, Any], list[str]]:
    """Programs as native functions, compiled, in CPython, and their text. The helpers are inlined in some."""
    inline = {0: None, 1: True, 2: False}[seed % 3]
    space = dict(NAMESPACE)
    for text in HELPERS:
        helper = native_from_source(text, space, inline=inline, may_fault="raise" in text)
        space[helper.__name__] = helper
    texts = [Author(seed * PROGRAMS + number).program(f"program{number}") for number in range(PROGRAMS)]
    functions = [native_from_source(text, space) for text in texts]
    plain: dict[str, Any] = {"attempt": attempt, "Fault": Fault, "ptr": ptr, "i64": i64}
    for text in (*HELPERS, *texts):
        exec(text, plain)
    return functions, compiled(functions), plain, texts


@pytest.mark.parametrize("seed", range(3), ids=["as LLVM likes", "inlined", "never inlined"])
def test_programs(seed: int) -> None:
    functions, entries, plain, texts = written(seed)

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(0, 65535), min_size=SIZE, max_size=SIZE), st.integers(0, 65535))
    def check(start: list[int], x: int) -> None:
        for number, text in enumerate(texts):
            outcomes = []
            for run in (entries[number], functions[number].python):
                memory = (ctypes.c_int64 * SIZE)(*start)
                outcomes.append((run(memory, x), list(memory)))
            memory_of_python = list(start)
            outcomes.append((plain[f"program{number}"](memory_of_python, x), memory_of_python))
            assert outcomes[0] == outcomes[1] == outcomes[2], text

    check()


STEPS = (1, 2, 3, 7, 100, 127, 128, 200, 255, 256, 300, -1, -2, -7, -128, -129, -255, -256, -300)
RANGE = """
def turns(out: ptr[{kind}], start: {kind}, stop: {kind}) -> u64:
    count: u64 = 0
    last: {kind} = 77
    for n in range(start, stop, {step}):
        last = n
        count += 1
        if count == 1000:
            break
    out[0] = last
    return count
"""


@cache
def ranges() -> list[tuple[IntType, int, NativeFunction, Callable[..., int]]]:
    kinds = [kind for kind in INTEGERS if kind.bits in (8, 16, 64)]
    cases = [(kind, step, native_from_source(RANGE.format(kind=kind, step=step), NAMESPACE)) for kind in kinds for step in STEPS]
    return [(*case, entry) for case, entry in zip(cases, compiled(function for _, _, function in cases), strict=True)]


def ends(kind: IntType) -> list[int]:
    least, greatest = (-1 << (kind.bits - 1), (1 << (kind.bits - 1)) - 1) if kind.signed else (0, (1 << kind.bits) - 1)
    return [least, least + 1, least + 2, greatest, greatest - 1, greatest - 3]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 5), st.integers(0, 5), st.integers(-300, 300), st.integers(-300, 300), st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 0)])
)
def test_ranges_stop_at_the_ends_of_the_type(low: int, high: int, near: int, far: int, at_end: tuple[int, int]) -> None:
    for kind, step, function, entry in ranges():
        start = ends(kind)[low] if at_end[0] else kind.wrap(near)
        stop = ends(kind)[high] if at_end[1] else kind.wrap(far)
        turns = range(start, stop, step)
        count = min((stop - start + step + (-1 if step > 0 else 1)) // step, 1000) if turns else 0
        last = turns[count - 1] if count else 77
        out = (ctypes.c_uint64 * 1)()
        assert entry(out, start, stop) == count, (kind, start, stop, step)
        assert kind.wrap(out[0]) == last, (kind, start, stop, step)
        if count <= 20:
            again = (ctypes.c_uint64 * 1)()
            assert (function.python(again, start, stop), again[0]) == (count, out[0])


LOGIC = """
def logic(p: ptr[u64], a: boolean, b: boolean, c: boolean) -> u64:
    first: boolean = seen(p, a, 1) and seen(p, b, 2) or seen(p, c, 4)
    second: boolean = not (seen(p, a, 8) or seen(p, b, 16)) and (seen(p, c, 32) ^ True)
    third: boolean = seen(p, b, 64) if seen(p, a, 128) else seen(p, c, 256)
    fourth: boolean = (a & b) | (b ^ c)
    fifth: boolean = (a == b) ^ (b < c)
    return u64(first) | u64(second) << 1 | u64(third) << 2 | u64(fourth) << 3 | u64(fifth) << 4 | u64(a != c) << 5
"""
SEEN = """
def seen(p: ptr[u64], value: boolean, mark: u64) -> boolean:
    p[0] |= mark
    return value
"""


@pytest.mark.parametrize("inline", [None, True, False])
def test_booleans_short_circuit(inline: bool | None) -> None:
    space = {**NAMESPACE, "seen": native_from_source(SEEN, NAMESPACE, inline=inline)}
    function = native_from_source(LOGIC, space)
    [entry] = compiled([function])
    plain: dict[str, Any] = {"u64": u64, "ptr": ptr, "boolean": bool}
    exec(SEEN + LOGIC, plain)
    for bits in range(8):
        flags = bool(bits & 1), bool(bits & 2), bool(bits & 4)
        marks, twin_marks, own = (ctypes.c_uint64 * 1)(), (ctypes.c_uint64 * 1)(), [0]
        results = entry(marks, *flags), function.python(twin_marks, *flags), plain["logic"](own, *flags)
        assert len(set(results)) == 1
        assert marks[0] == twin_marks[0] == own[0]


ENDLESS = """
def search(p: ptr[u8], wanted: u8) -> u64:
    n: u64 = 0
    while True:
        if p[n] == wanted:
            found: u64 = n
            break
        n += 1
        if n < 20:
            continue
        return 1000
    while n > 0:
        n -= 1
        pass
    return found
    n = 5
"""


def test_endless_loop_left_by_break() -> None:
    function = native_from_source(ENDLESS, NAMESPACE)
    memory = (ctypes.c_uint8 * 20)(*range(20))
    [entry] = compiled([function])
    for wanted in (0, 1, 19, 77):
        assert entry(memory, wanted) == function.python(memory, wanted) == (wanted if wanted < 20 else 1000)


def test_local_types_hold_everywhere() -> None:
    text = "def f(a: u8) -> u8:\n    b = a + 200\n    for i in range(b):\n        b += i\n    return b"
    function = native_from_source(text, NAMESPACE)
    for a in range(0, 256, 17):
        b = u8.wrap(a + 200)
        assert function(a) == function.python(a) == u8.wrap(b + sum(range(b)))
