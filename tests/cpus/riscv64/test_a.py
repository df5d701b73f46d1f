"""AMOs against arithmetic on Python's integers, and against each other on several threads."""

from __future__ import annotations

import random
import threading

import pytest

from gasang.cpus.riscv64.a import zaamo
from gasang.native import Fault
from support.hart import CORNERS, MASK, NO_REGISTER, RAM_BASE, RAM_SIZE, TestHart, compiled, described, low, signed

MODELS = {
    "amoswap": lambda old, value, bits: value,
    "amoadd": lambda old, value, bits: old + value,
    "amoxor": lambda old, value, bits: old ^ value,
    "amoand": lambda old, value, bits: old & value,
    "amoor": lambda old, value, bits: old | value,
    "amomin": lambda old, value, bits: min(signed(old, bits), signed(value, bits)),
    "amomax": lambda old, value, bits: max(signed(old, bits), signed(value, bits)),
    "amominu": lambda old, value, bits: min(low(old, bits), low(value, bits)),
    "amomaxu": lambda old, value, bits: max(low(old, bits), low(value, bits)),
}
BITS = {"w": 32, "d": 64}
NAMES = [f"{operation}.{width}" for operation in MODELS for width in BITS]


def test_every_instruction_has_a_model() -> None:
    assert set(NAMES) == set(described(zaamo))


def parts(name: str) -> tuple[str, int, int]:
    """Operation, bits and bytes."""
    operation, width = name.split(".")
    return operation, BITS[width], BITS[width] // 8


@pytest.mark.parametrize("name", NAMES)
def test_memory_and_register_are_the_models(name: str) -> None:
    operation, bits, size = parts(name)
    hart, fast, slow = TestHart(), compiled(zaamo)[name], described(zaamo)[name].function.python  # type: ignore[attr-defined]
    at = 4096 - 8
    neighbours = random.Random(name).randbytes(24)
    for number, (old, value) in enumerate((old, value) for old in CORNERS for value in CORNERS):
        for function in (fast, slow) if number % 100 == 0 else (fast,):
            content = bytearray(neighbours)
            content[8 : 8 + size] = low(old, bits).to_bytes(size, "little")
            hart.bytes[at - 8 : at + 16] = bytes(content)
            hart.cpu.x[6], hart.cpu.x[7] = RAM_BASE + at, value
            rd = (5, 6, 7, NO_REGISTER)[number % 4]
            function(hart.cpu, rd, 6, 7)
            assert hart.cpu.x[rd] == signed(old, bits) & MASK, (hex(old), hex(value))
            content[8 : 8 + size] = low(MODELS[operation](old, value, bits), bits).to_bytes(size, "little")
            assert bytes(hart.bytes[at - 8 : at + 16]) == content, (hex(old), hex(value))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [1, RAM_SIZE, -8])
def test_misaligned_or_outside_ram_leaves_everything_as_it_was(name: str, offset: int) -> None:
    hart = TestHart()
    hart.cpu.x[6], hart.cpu.x[7] = RAM_BASE + offset, 5
    before = hart.registers()
    with pytest.raises(Fault):
        compiled(zaamo)[name](hart.cpu, 5, 6, 7)
    assert hart.registers() == before
    assert not any(hart.bytes)


@pytest.mark.parametrize("name", ["amoadd.w", "amoadd.d"])
def test_harts_do_not_lose_each_others_additions(name: str) -> None:
    rounds, harts = 5000, [TestHart() for _ in range(3)]
    add = compiled(zaamo)[name]
    for hart in harts:
        hart.shared.ram = harts[0].shared.ram
        hart.cpu.x[6], hart.cpu.x[7] = RAM_BASE + 64, 1

    def work(hart: TestHart) -> None:
        for _ in range(rounds):
            add(hart.cpu, 5, 6, 7)

    threads = [threading.Thread(target=work, args=(hart,)) for hart in harts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int.from_bytes(bytes(harts[0].bytes[64:72]), "little") == rounds * len(harts)
