"""Zbb against strings of binary digits."""

from __future__ import annotations

import pytest

from gasang.cpus.riscv64.zbb import zbb
from support.hart import Model, check, described, low, signed


def digits(value: int, bits: int) -> str:
    """The lower bits in binary, highest first."""
    return f"{low(value, bits):0{bits}b}"


def rotated(value: int, left: int, bits: int) -> int:
    """Rotated left, by cutting the binary digits."""
    text = digits(value, bits)
    return int(text[left % bits :] + text[: left % bits], 2)


def leading(text: str) -> int:
    return len(text) - len(text.lstrip("0"))


def by_bytes(value: int) -> bytes:
    return value.to_bytes(8, "little")


MODELS: dict[str, Model] = {
    "andn": lambda o: o.a & (2**64 - 1 - o.b),
    "orn": lambda o: o.a | (2**64 - 1 - o.b),
    "xnor": lambda o: 2**64 - 1 - (o.a ^ o.b),
    "clz": lambda o: leading(digits(o.a, 64)),
    "clzw": lambda o: leading(digits(o.a, 32)),
    "ctz": lambda o: leading(digits(o.a, 64)[::-1]),
    "ctzw": lambda o: leading(digits(o.a, 32)[::-1]),
    "cpop": lambda o: digits(o.a, 64).count("1"),
    "cpopw": lambda o: digits(o.a, 32).count("1"),
    "max": lambda o: max(signed(o.a), signed(o.b)),
    "maxu": lambda o: max(o.a, o.b),
    "min": lambda o: min(signed(o.a), signed(o.b)),
    "minu": lambda o: min(o.a, o.b),
    "sext.b": lambda o: signed(o.a, 8),
    "sext.h": lambda o: signed(o.a, 16),
    "zext.h": lambda o: low(o.a, 16),
    "rol": lambda o: rotated(o.a, o.b % 64, 64),
    "rolw": lambda o: signed(rotated(o.a, o.b % 32, 32), 32),
    "ror": lambda o: rotated(o.a, -o.b % 64, 64),
    "rorw": lambda o: signed(rotated(o.a, -o.b % 32, 32), 32),
    "rori": lambda o: rotated(o.a, -o.imm % 64, 64),
    "roriw": lambda o: signed(rotated(o.a, -o.imm % 32, 32), 32),
    "orc.b": lambda o: int.from_bytes([255 if byte else 0 for byte in by_bytes(o.a)], "little"),
    "rev8": lambda o: int.from_bytes(by_bytes(o.a), "big"),
}


def test_every_instruction_has_a_model() -> None:
    assert set(MODELS) == set(described(zbb))


@pytest.mark.parametrize("name", MODELS)
def test_result_is_the_models(name: str) -> None:
    check(zbb, MODELS, name)
