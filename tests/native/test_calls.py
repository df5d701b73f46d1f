"""Calls: recursion, faults, function pointers, tail calls, and what crosses the border to Python."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.native import (
    Fault,
    NativeError,
    NativeFunction,
    address_of,
    array,
    atomic_add,
    atomic_load,
    atomic_swap,
    attempt,
    boolean,
    cast,
    ctype_of,
    f32,
    f64,
    function_type,
    length,
    native,
    native_from_source,
    null,
    ptr,
    struct,
    tail_call,
    u64,
    u128,
)
from support.native_twins import NAMESPACE, compiled

DEEP = 1_000_000
"""Calls in a chain: with a frame each, of the least 16 bytes, they would not fit into 8 MiB of stack."""


@native
def ackermann(m: u64, n: u64) -> u64:
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


@native
def even(n: u64) -> boolean:
    return True if n == 0 else odd(n - 1)


@native(inline=True)
def odd(n: u64) -> boolean:
    return False if n == 0 else even(n - 1)


@native(inline=True)
def depth(n: u64) -> u64:
    return 0 if n == 0 else 1 + depth(n >> 1)


def test_recursion() -> None:
    for m, n in ((0, 3), (1, 4), (2, 3), (3, 2)):
        assert ackermann(m, n) == ackermann.python(m, n)
    for n in range(20):
        assert even(n) is even.python(n) is (n % 2 == 0)
        assert depth(n) == depth.python(n) == n.bit_length()


# ---------------------------------------------------------------------- faults


@native(may_fault=True)
def checked_divide(p: ptr[u64], a: u64, b: u64) -> u64:
    p[0] += 1
    if b == 0:
        raise Fault
    return a // b


@native(may_fault=True, inline=True)
def checked_twice(p: ptr[u64], a: u64, b: u64, c: u64) -> u64:
    part = checked_divide(p, a, b)
    return checked_divide(p, part, c) + (checked_divide(p, 100, part) if part > 50 else 0)


@native(may_fault=True)
def store_quotient(p: ptr[u64], a: u64, b: u64, c: u64) -> None:
    p[1] = a
    p[1 + (checked_twice(p, a, b, c) & 1)] = checked_twice(p, a, b, c)
    p[3] = 77


@native
def tries(p: ptr[u64], a: u64, b: u64, c: u64) -> u64:
    went: u64 = 0
    for turn in range(u64(3)):
        if attempt(store_quotient, p, a + turn, b, c):
            went += 1
        else:
            c += 1
        if not attempt(store_quotient, p, a, b - turn, c):
            went += 16
    return went


NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 51, 200, 10**6, 2**64 - 1])


@given(NUMBERS, NUMBERS, NUMBERS)
def test_faults_end_the_callers_too(a: int, b: int, c: int) -> None:
    outcomes = []
    for run, attempts in ((store_quotient, tries), (store_quotient.python, tries.python)):
        memory = (ctypes.c_uint64 * 4)()
        try:
            ended = run(memory, a, b, c)
        except Fault:
            ended = Fault
        outcomes.append((ended, attempts(memory, a, b, c), list(memory)))
    assert outcomes[0] == outcomes[1]
    faults = b == 0 or c == 0 or (a // b > 50 and 100 // (a // b) < 0)
    assert (outcomes[0][0] is Fault) == faults


@pytest.mark.parametrize("result", ["u8", "i64", "boolean", "f32", "f64", "ptr[u8]"])
def test_results_of_functions_that_fault(result: str) -> None:
    function = native_from_source(
        f"def f(x: {result}, bad: boolean) -> {result}:\n    if bad:\n        raise Fault\n    return x", NAMESPACE, may_fault=True
    )
    for run in (function, function.python):
        assert run(1, False) == 1
        with pytest.raises(Fault):
            run(1, True)


# ---------------------------------------------------------------------- function pointers

if TYPE_CHECKING:
    Binary = Callable[[int, int], int]
else:
    Binary = function_type([u64, u64], u64)


@struct
class Operations:
    table: array[Binary] = length(3)
    chosen: ptr[Binary]


@native
def plus(a: u64, b: u64) -> u64:
    return a + b


@native
def times(a: u64, b: u64) -> u64:
    return a * b


@native
def fold(operations: ptr[Operations], n: u64) -> u64:
    operations.table[0] = address_of(plus)
    operations.table[1] = cast(Binary, u64(address_of(times)))
    operations.table[2] = null
    operations.chosen = cast(ptr[Binary], operations)
    total: u64 = 1
    for i in range(n):
        chosen = operations.chosen[i % 3]
        if chosen == null:
            total += 1
        else:
            total = chosen(total, i) + apply(chosen, total, i)
    return total


@native
def apply(operation: Binary, a: u64, b: u64) -> u64:
    return operation(b, a)


def test_function_pointers() -> None:
    for n in (0, 1, 2, 3, 10, 40):
        operations = ctype_of(Operations)()
        again = ctype_of(Operations)()
        assert fold(operations, n) == fold.python(again, n)


def test_function_pointer_from_python() -> None:
    address = function_type([u64, u64], u64)
    callback = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(lambda a, b: a * 10 + b)
    assert address == Binary
    assert apply(ctypes.cast(callback, ctypes.c_void_p).value, 3, 4) == 43
    assert apply.python(plus, 3, 4) == 7
    with pytest.raises(ValueError, match="runs as plain Python"):
        apply.python(0x1234, 3, 4)


# ---------------------------------------------------------------------- tail calls

PING = """
def ping(p: ptr[u64], n: u64, total: u64) -> u64:
    if n == 0:
        return total
    p[0] += n
    return tail_call(pong, p, n - 1, total ^ p[0])
"""
PONG = """
def pong(p: ptr[u64], n: u64, total: u64) -> u64:
    p[1] += 1
    if n == 0:
        return total + 1
    next = cast(Step, p[2]) if n & 1 == 0 else address_of(ping)
    return tail_call(next, p, n - 1, total + p[0])
"""
BEGIN = """
def begin(p: ptr[u64], n: u64, total: u64) -> u64:
    p[2] = u64(address_of(ping))
    return ping(p, n, total)
"""


def step_pair(convention: str, may_fault: bool, nothing: bool) -> NativeFunction:
    """`begin`, which starts a chain of tail calls between two functions: by name, and through pointers where these may not fault."""
    ping, pong, begin = PING, PONG, BEGIN
    if may_fault:
        pong = pong.replace("next = cast(Step, p[2]) if n & 1 == 0 else address_of(ping)", "pass").replace("(next,", "(ping,")
        begin = begin.replace("p[2] = u64(address_of(ping))", "pass")
    if nothing:
        ping, pong = (
            text.replace("-> u64", "-> None").replace("return total + 1", "return").replace("return total", "return")
            for text in (ping, pong)
        )
        begin = begin.replace("return ping(p, n, total)", "ping(p, n, total)\n    return p[0]")
    result = NAMESPACE["ptr"][NAMESPACE["u64"]]
    space = {**NAMESPACE, "Step": function_type([result, u64, u64], None if nothing else u64, convention)}
    for text in (ping, pong):
        function = native_from_source(text, space, convention=convention, may_fault=may_fault)
        space[function.__name__] = function
    return native_from_source(begin, space, may_fault=may_fault)


@pytest.mark.parametrize("nothing", [False, True], ids=["value", "nothing"])
@pytest.mark.parametrize("may_fault", [False, True], ids=["", "may_fault"])
@pytest.mark.parametrize("convention", ["c", "preserve_none"])
def test_tail_calls_need_no_stack(convention: str, may_fault: bool, nothing: bool) -> None:
    begin = step_pair(convention, may_fault, nothing)
    for optimise in (0, 2):  # at 0 LLVM turns no call into a jump by itself
        [entry] = compiled([begin], optimise)
        for n in (0, 1, 2, 1001):
            memory, again = (ctypes.c_uint64 * 3)(), (ctypes.c_uint64 * 3)()
            assert entry(memory, n, 5) == begin.python(again, n, 5)
            assert memory[:2] == again[:2]
        ended: list[int] = []
        before = threading.stack_size(256 * 1024)
        try:
            thread = threading.Thread(target=lambda entry=entry, ended=ended: ended.append(entry((ctypes.c_uint64 * 3)(), DEEP, 0)))
            thread.start()
            thread.join()
        finally:
            threading.stack_size(before)
        assert len(ended) == 1


@native
def count_down(n: u64, total: u64) -> u64:
    if n == 0:
        return total
    return tail_call(count_down, n - 1, total + n)


@native(inline=True)
def hidden_tail(n: u64, total: u64) -> u64:
    return tail_call(count_down, n, total)


@native
def uses_hidden_tail(n: u64) -> u64:
    return hidden_tail(n, 1) * 2


def test_tail_call_to_itself_and_from_inlined_code() -> None:
    assert count_down(DEEP, 0) == DEEP * (DEEP + 1) // 2
    assert count_down.python(5000, 0) == 5000 * 5001 // 2
    assert uses_hidden_tail(10) == uses_hidden_tail.python(10) == 112


# ---------------------------------------------------------------------- the border to Python

MANY = ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "boolean", "f32", "f64")


@cache
def many() -> NativeFunction:
    parameters = ", ".join(f"a{n}: {kind}" for n, kind in enumerate(MANY))
    body = "\n".join(f"    p[{n}] = f64(a{n})" for n in range(len(MANY)))
    return native_from_source(f"def f({parameters}, p: ptr[f64]) -> None:\n{body}", NAMESPACE)


@given(
    st.lists(st.integers(-(2**64), 2**64), min_size=8, max_size=8),
    st.booleans(),
    st.floats(width=32, allow_nan=False),
    st.floats(allow_nan=False),
)
def test_every_argument_arrives(integers: list[int], flag: bool, single: float, double: float) -> None:
    results = []
    for run in (many(), many().python):
        places = (ctypes.c_double * len(MANY))()
        run(*integers, flag, single, double, places)
        results.append(list(places))
    assert results[0] == results[1]
    assert results[0][8:] == [flag, single, double]


@cache
def echoes() -> list[tuple[str, NativeFunction, Callable[..., Any]]]:
    kinds = MANY[:9]
    functions = [native_from_source(f"def f(x: {kind}) -> {kind}:\n    return x", NAMESPACE) for kind in kinds]
    return list(zip(kinds, functions, compiled(functions), strict=True))


@given(st.integers(-(2**64), 2**64))
def test_results_have_their_sign(value: int) -> None:
    for kind, function, entry in echoes():
        assert entry(value) == function.python(value) == NAMESPACE[kind](value), kind


def test_wrong_number_of_arguments() -> None:
    for run in (plus, plus.python):
        for arguments in ((), (1,), (1, 2, 3)):
            with pytest.raises(TypeError, match=f"plus takes 2 arguments, {len(arguments)} given"):
                run(*arguments)


def test_numbers_of_128_bits_stay_inside() -> None:
    @native
    def wide(a: u128) -> u64:
        return u64(a >> 64)

    with pytest.raises(NativeError, match=r"test_calls.py:\d+: wide: u128 cannot cross the border to Python: pass ptr\[u128\]"):
        wide(1)
    assert wide.python(5 << 64) == 5


@native
def wait_for_change(p: ptr[u64]) -> u64:
    while atomic_load(p) == 0:
        atomic_add(p + 1, 1)
    return atomic_swap(p, 5)


def test_the_gil_is_released() -> None:
    memory = (ctypes.c_uint64 * 2)(1)
    wait_for_change(memory)
    memory[0] = 0
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(wait_for_change(memory)), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while memory[1] < 10:
        assert time.monotonic() < deadline, "the other thread does not run"
    memory[0] = 1
    thread.join(30)
    assert results == [1]
    assert memory[0] == 5


def test_names_mean_nothing_to_llvm() -> None:
    @native
    def documented(entry: f64, out: f32, t1: u64) -> f64:
        """What it does."""
        r: f64 = entry + f64(out) + f64(t1)
        return r

    assert documented.__doc__ == "What it does."
    assert documented(1.0, 2.0, 3) == documented.python(1.0, 2.0, 3) == 6.0
    assert repr(documented) == "<native function documented>"
