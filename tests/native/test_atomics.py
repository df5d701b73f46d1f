"""Atomic operations: their results both ways, and that nothing is lost where two threads really meet."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import NativeFunction, native, native_from_source, null, ptr, u64
from gasang.native import atomic_load as load
from gasang.native import atomic_store as store
from gasang.native import atomic_swap as swap
from gasang.native import compare_exchange as exchange
from support.native_twins import INTEGERS, NAMESPACE, Memory, compiled, operands

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "atomic_add": lambda old, value: old + value,
    "atomic_and": lambda old, value: old & value,
    "atomic_or": lambda old, value: old | value,
    "atomic_xor": lambda old, value: old ^ value,
    "atomic_swap": lambda old, value: value,
    "atomic_min": min,
    "atomic_max": max,
}
ONE = "def f(p: ptr[{kind}], v: ptr[{kind}]) -> None:\n    v[1] = {name}(p, v[0])"
STORE = "def f(p: ptr[{kind}], v: ptr[{kind}]) -> None:\n    atomic_store(p, v[0])\n    v[1] = atomic_load(p)"
EXCHANGE = "def f(p: ptr[{kind}], v: ptr[{kind}]) -> None:\n    v[2] = compare_exchange(p, v[0], v[1])"


@cache
def table() -> list[tuple[Any, str, NativeFunction, Callable[..., Any]]]:
    rows = [(kind, name, native_from_source(ONE.format(kind=kind, name=name), NAMESPACE)) for kind in INTEGERS for name in OPERATIONS]
    rows += [(kind, "store", native_from_source(STORE.format(kind=kind), NAMESPACE)) for kind in INTEGERS]
    rows += [(kind, "exchange", native_from_source(EXCHANGE.format(kind=kind), NAMESPACE)) for kind in INTEGERS]
    return [(*row, entry) for row, entry in zip(rows, compiled(row[2] for row in rows), strict=True)]


@settings(max_examples=60, deadline=None)
@given(operands(3), st.booleans())
def test_results(choose: Callable[[Any], tuple[int, ...]], equal: bool) -> None:
    memory = Memory(64)
    for kind, name, function, entry in table():
        before, value, other = choose(kind)
        if equal:
            value = before
        images = []
        for run in (entry, function.python):
            memory.write(bytes(64))
            memory.put(0, kind, before)
            memory.write(b"".join(bits.to_bytes(kind.size, "little") for bits in (value, other)), 16)
            run(memory.address, memory.address + 16)
            images.append(memory.read())
        assert images[0] == images[1], (kind, name)
        if name in OPERATIONS:
            after = OPERATIONS[name](kind.wrap(before), kind.wrap(value))
            assert memory.get(0, kind) == after % (1 << kind.bits)


@native
def pointers(p: ptr[ptr[u64]], q: ptr[u64]) -> u64:
    first = swap(p, q)
    second = exchange(p, q, first)
    third = exchange(p, q, null)
    store(p, load(p) + 1)
    return u64(first) ^ (u64(second) << 1) ^ (u64(third) << 2) ^ (u64(load(p)) << 3)


def test_pointers() -> None:
    one, other = (ctypes.c_uint64 * 1)(0x1000), (ctypes.c_uint64 * 1)(0x1000)
    assert pointers(one, 0x7770) == pointers.python(other, 0x7770)
    assert one[0] == other[0] == 0x1008


# ---------------------------------------------------------------------- two threads

TURNS = 200_000
START = """
    atomic_add(gate, 1)
    while atomic_load(gate) < 2:
        pass
"""
COUNT = (
    "def count(gate: ptr[u64], p: ptr[{kind}], turns: u64) -> None:"
    + START
    + """
    for _ in range(turns):
        atomic_add(p, 1)
        atomic_add(p + 1, {step})
        atomic_xor(p + 2, 5)
"""
)
LOCK = (
    "def locked(gate: ptr[u64], p: ptr[u64], turns: u64) -> None:"
    + START
    + """
    for i in range(turns):
        while compare_exchange(p, 0, 1) != 0:
            pass
        p[1] = p[1] + 1
        p[2] = p[2] ^ i
        atomic_store(p, 0)
"""
)
EXCHANGED = (
    "def exchanged(gate: ptr[u64], p: ptr[{kind}], turns: u64) -> None:"
    + START
    + """
    for _ in range(turns):
        while True:
            old = atomic_load(p)
            if compare_exchange(p, old, old + 3) == old:
                break
"""
)
MESSAGES = """
def send(p: ptr[u64], turns: u64) -> u64:
    for i in range(turns):
        while atomic_load(p) != 0:
            pass
        p[8] = i * 7
        atomic_store(p, 1)
    return 0
"""
RECEIVE = """
def receive(p: ptr[u64], turns: u64) -> u64:
    wrong: u64 = 0
    for i in range(turns):
        while atomic_load(p) == 0:
            pass
        wrong += u64(p[8] != i * 7)
        atomic_store(p, 0)
    return wrong
"""


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run calls in threads of their own; their results."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_no_addition_is_lost(kind: Any) -> None:
    [entry] = compiled([native_from_source(COUNT.format(kind=kind, step="-1" if kind.signed else 3), NAMESPACE)])
    gate, memory = Memory(8), Memory(64)
    turns = TURNS // 4
    together(*[lambda: entry(gate.address, memory.address, turns)] * 2)
    found = [int.from_bytes(memory.read(kind.size, place * kind.size), "little") for place in range(3)]
    assert found == [value % (1 << kind.bits) for value in (2 * turns, (-2 if kind.signed else 6) * turns, 0)]


@pytest.mark.parametrize("kind", ["u8", "u32", "u64", "u128"])
def test_no_exchange_is_lost(kind: str) -> None:
    [entry] = compiled([native_from_source(EXCHANGED.format(kind=kind), NAMESPACE)])
    gate, memory = Memory(8), Memory(16)
    together(*[lambda: entry(gate.address, memory.address, TURNS // 4)] * 2)
    size = NAMESPACE[kind].size
    assert int.from_bytes(memory.read(size), "little") == 6 * (TURNS // 4) % (1 << (8 * size))


def test_a_lock_made_of_exchanges() -> None:
    [entry] = compiled([native_from_source(LOCK, NAMESPACE)])
    gate, memory = Memory(8), Memory(64)
    together(*[lambda: entry(gate.address, memory.address, TURNS // 10)] * 2)
    assert int.from_bytes(memory.read(8, 8), "little") == 2 * (TURNS // 10)
    assert int.from_bytes(memory.read(8, 16), "little") == 0


def test_what_was_stored_before_is_seen_after() -> None:
    send, receive = compiled([native_from_source(MESSAGES, NAMESPACE), native_from_source(RECEIVE, NAMESPACE)])
    memory = Memory(128)
    turns = 200
    assert together(lambda: send(memory.address, turns), lambda: receive(memory.address, turns)) == [0, 0]
