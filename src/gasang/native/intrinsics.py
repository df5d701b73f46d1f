"""The intrinsics: one table row each, holding the typing rule, the LLVM IR and the plain-Python twin.

An argument's rule is one of: ``int`` any integer, ``float`` any float, ``number`` either, ``pointer`` any pointer, ``same`` the first
argument's type, ``target`` what the first argument points to, ``any`` whatever it is, or the name of a type.
The result is ``same``, ``target``, ``argument`` (the type given first), ``none`` or the name of a type.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gasang.native.memory import Pointer, host_float_flags, raw_copy, raw_fill, raw_syscall, set_host_float_control
from gasang.native.types import IntType, Type, bits_of, from_bits

if TYPE_CHECKING:
    from gasang.native.llvm import FunctionEmitter

Emit = Callable[["FunctionEmitter", list[Type], list[str], Any], str]
Twin = Callable[[list[Type], Any, list[Any]], Any]


@dataclass(frozen=True)
class Intrinsic:
    """One built-in operation."""

    name: str
    arguments: tuple[str, ...]
    result: str
    emit: Emit
    twin: Twin
    takes_type: bool = False


def _unary(llvm_name: str, extra: str = "") -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        return e.value(f"call {t} @llvm.{llvm_name}.{t}({t} {a[0]}{extra})")

    return emit


def _binary(llvm_unsigned: str, llvm_signed: str) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        name = llvm_signed if getattr(types[0], "signed", False) else llvm_unsigned
        return e.value(f"call {t} @llvm.{name}.{t}({t} {a[0]}, {t} {a[1]})")

    return emit


def _rotate(direction: str) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        return e.value(f"call {t} @llvm.fsh{direction}.{t}({t} {a[0]}, {t} {a[0]}, {t} {a[1]})")

    return emit


def _bswap(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    t = types[0].llvm
    return a[0] if types[0].size == 1 else e.value(f"call {t} @llvm.bswap.{t}({t} {a[0]})")


def _high(signed: bool) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t, bits = types[0].llvm, types[0].size * 8
        wide, extend = f"i{bits * 2}", "sext" if signed else "zext"
        left = e.value(f"{extend} {t} {a[0]} to {wide}")
        right = e.value(f"{extend} {t} {a[1]} to {wide}")
        product = e.value(f"mul {wide} {left}, {right}")
        return e.value(f"trunc {wide} {e.value(f'lshr {wide} {product}, {bits}')} to {t}")

    return emit


def _high_twin(signed: bool) -> Twin:
    def twin(types: list[Type], _: Any, a: list[Any]) -> Any:
        kind = types[0]
        assert isinstance(kind, IntType)
        view = IntType("", kind.size, kind.size, "", kind.bits, signed)
        return kind.wrap((view.wrap(a[0]) * view.wrap(a[1])) >> kind.bits)

    return twin


def _truncating(which: str) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        kind = types[0]
        assert isinstance(kind, IntType)
        return e.guarded_division(kind, which, a[0], a[1])

    return emit


def truncating_division(kind: IntType, which: str, a: int, b: int) -> int:
    """C's division with RISC-V's corner cases (unprivileged specification, table 'Semantics for division by zero and overflow')."""
    if b == 0:
        return kind.wrap(-1) if which == "quotient" else a
    quotient = abs(a) // abs(b)
    if (a < 0) != (b < 0):
        quotient = -quotient
    return kind.wrap(quotient if which == "quotient" else a - quotient * b)


def _bitcast(e: FunctionEmitter, types: list[Type], a: list[str], to: Any) -> str:
    return a[0] if types[0].llvm == to.llvm else e.value(f"bitcast {types[0].llvm} {a[0]} to {to.llvm}")


def _strict(name: str, rounding: bool = True) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        return e.strict_float(name, types[0], a, rounding)

    return emit


def _fma_twin(types: list[Type], _: Any, a: list[Any]) -> Any:
    x, y, z = a
    kind = types[0]
    if not all(map(math.isfinite, a)) or x == 0 or y == 0:
        return kind.wrap(_float_product(x, y) + z)  # type: ignore[attr-defined]
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return kind.wrap(_float_product(x, y) + z if x * y == -z else 0.0)  # type: ignore[attr-defined]
    return round_fraction(kind, exact)


def _float_product(x: float, y: float) -> float:
    return x * y


def round_fraction(kind: Any, exact: Fraction) -> float:
    """The nearest value of a float type to an exact number, ties to even."""
    digits, smallest, largest = (24, -149, 128) if kind.bits == 32 else (53, -1074, 1024)
    sign, magnitude = (-1.0, -exact) if exact < 0 else (1.0, exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    unit = max(exponent - digits + 1, smallest)
    mantissa = round(magnitude / Fraction(2) ** unit)
    if mantissa.bit_length() + unit > largest:
        return sign * math.inf
    return sign * math.ldexp(float(mantissa), unit)


def _sqrt_twin(types: list[Type], _: Any, a: list[Any]) -> Any:
    value = a[0]
    if math.isnan(value) or value < 0:
        return math.nan
    return types[0].wrap(math.sqrt(value))  # type: ignore[attr-defined]


def _round_to_i64(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    return e.round_to_i64(types[0], a[0])  # type: ignore[arg-type]


def _round_to_i64_twin(_: list[Type], __: Any, a: list[Any]) -> Any:
    value = a[0]
    if not math.isfinite(value) or not -(2.0**63) <= value < 2.0**63:
        return -(1 << 63)
    return round(value)


def _float_compare(predicate: str) -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        return e.strict_compare("fcmps", predicate, types[0], a[0], a[1])

    return emit


def _load_unaligned(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    target = types[0].target  # type: ignore[attr-defined]
    return e.value(f"load {target.llvm}, ptr {a[0]}, align 1")


def _store_unaligned(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    e.line(f"store {types[1].llvm} {a[1]}, ptr {a[0]}, align 1")
    return ""


def _copy(e: FunctionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.line(f"call void @llvm.memmove.p0.p0.i64(ptr {a[0]}, ptr {a[1]}, i64 {a[2]}, i1 false)")
    return ""


def _fill(e: FunctionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.line(f"call void @llvm.memset.p0.i64(ptr {a[0]}, i8 {a[1]}, i64 {a[2]}, i1 false)")
    return ""


def _sizeof(_: FunctionEmitter, __: list[Type], ___: list[str], kind: Any) -> str:
    return str(kind.size)


def _atomic(operation: str, signed_operation: str = "") -> Emit:
    def emit(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        target = types[0].target  # type: ignore[attr-defined]
        name = signed_operation if signed_operation and target.signed else operation
        return e.value(f"atomicrmw {name} ptr {a[0]}, {target.llvm} {a[1]} seq_cst, align {target.size}")

    return emit


def _atomic_twin(apply: Callable[[Any, Any], Any]) -> Twin:
    def twin(_: list[Type], __: Any, a: list[Any]) -> Any:
        pointer: Pointer = a[0]
        old = pointer.load()
        pointer.store(pointer.type.target.wrap(apply(old, a[1])))
        return old

    return twin


def _atomic_load(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    target = types[0].target  # type: ignore[attr-defined]
    return e.value(f"load atomic {target.llvm}, ptr {a[0]} seq_cst, align {target.size}")


def _atomic_store(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    target = types[0].target  # type: ignore[attr-defined]
    e.line(f"store atomic {target.llvm} {a[1]}, ptr {a[0]} seq_cst, align {target.size}")
    return ""


def _compare_exchange(e: FunctionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    t = types[0].target  # type: ignore[attr-defined]
    pair = e.value(f"cmpxchg ptr {a[0]}, {t.llvm} {a[1]}, {t.llvm} {a[2]} seq_cst seq_cst, align {t.size}")
    return e.value(f"extractvalue {{ {t.llvm}, i1 }} {pair}, 0")


def _compare_exchange_twin(_: list[Type], __: Any, a: list[Any]) -> Any:
    old = a[0].load()
    if old == a[1]:
        a[0].store(a[2])
    return old


def _fence(e: FunctionEmitter, _: list[Type], __: list[str], ___: Any) -> str:
    e.line("fence seq_cst")
    return ""


def _expect(value: str) -> Emit:
    def emit(e: FunctionEmitter, _: list[Type], a: list[str], __: Any) -> str:
        return e.value(f"call i1 @llvm.expect.i1(i1 {a[0]}, i1 {value})")

    return emit


def _syscall(e: FunctionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    return e.syscall(a)


def _float_flags(e: FunctionEmitter, _: list[Type], __: list[str], ___: Any) -> str:
    return e.float_flags()


def _set_float_control(e: FunctionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.set_float_control(a[0], a[1])
    return ""


def _bit_count(kind: Any, value: int) -> str:
    return format(value & ((1 << kind.bits) - 1), f"0{kind.bits}b")


def _rotate_left(kind: Any, value: int, count: int) -> int:
    bits, count = kind.bits, count % kind.bits
    value &= (1 << bits) - 1
    return int(kind.wrap((value << count) | (value >> (bits - count))))


def _swap_bytes(kind: Any, value: int) -> int:
    return int(kind.wrap(int.from_bytes(bits_of(kind, value).to_bytes(kind.size, "little"), "big")))


_ROWS = [
    Intrinsic("popcount", ("int",), "same", _unary("ctpop"), lambda t, _, a: _bit_count(t[0], a[0]).count("1")),
    Intrinsic("clz", ("int",), "same", _unary("ctlz", ", i1 false"), lambda t, _, a: len((s := _bit_count(t[0], a[0]))) - len(s.lstrip("0"))),
    Intrinsic("ctz", ("int",), "same", _unary("cttz", ", i1 false"), lambda t, _, a: len((s := _bit_count(t[0], a[0]))) - len(s.rstrip("0"))),
    Intrinsic("bswap", ("int",), "same", _bswap, lambda t, _, a: _swap_bytes(t[0], a[0])),
    Intrinsic("rotl", ("int", "same"), "same", _rotate("l"), lambda t, _, a: _rotate_left(t[0], a[0], a[1])),
    Intrinsic("rotr", ("int", "same"), "same", _rotate("r"), lambda t, _, a: _rotate_left(t[0], a[0], -a[1])),
    Intrinsic("minimum", ("int", "same"), "same", _binary("umin", "smin"), lambda _, __, a: min(a)),
    Intrinsic("maximum", ("int", "same"), "same", _binary("umax", "smax"), lambda _, __, a: max(a)),
    Intrinsic("high_u", ("int", "same"), "same", _high(False), _high_twin(False)),
    Intrinsic("high_s", ("int", "same"), "same", _high(True), _high_twin(True)),
    Intrinsic("divide", ("int", "same"), "same", _truncating("quotient"), lambda t, _, a: truncating_division(t[0], "quotient", a[0], a[1])),  # type: ignore[arg-type]
    Intrinsic("remainder", ("int", "same"), "same", _truncating("rest"), lambda t, _, a: truncating_division(t[0], "rest", a[0], a[1])),  # type: ignore[arg-type]
    Intrinsic("bitcast", ("number",), "argument", _bitcast, lambda t, to, a: from_bits(to, bits_of(t[0], a[0])), takes_type=True),
    Intrinsic("sizeof", (), "u64", _sizeof, lambda _, kind, __: kind.size, takes_type=True),
    Intrinsic("sqrt", ("float",), "same", _strict("sqrt"), _sqrt_twin),
    Intrinsic("fma", ("float", "same", "same"), "same", _strict("fma"), _fma_twin),
    Intrinsic("round_to_i64", ("float",), "i64", _round_to_i64, _round_to_i64_twin),
    Intrinsic("less_signaling", ("float", "same"), "boolean", _float_compare("olt"), lambda _, __, a: a[0] < a[1]),
    Intrinsic("less_equal_signaling", ("float", "same"), "boolean", _float_compare("ole"), lambda _, __, a: a[0] <= a[1]),
    Intrinsic("load_unaligned", ("pointer",), "target", _load_unaligned, lambda _, __, a: a[0].load()),
    Intrinsic("store_unaligned", ("pointer", "target"), "none", _store_unaligned, lambda _, __, a: a[0].store(a[1])),
    Intrinsic("copy", ("ptr[u8]", "ptr[u8]", "u64"), "none", _copy, lambda _, __, a: raw_copy(a[0], a[1], a[2])),
    Intrinsic("fill", ("ptr[u8]", "u8", "u64"), "none", _fill, lambda _, __, a: raw_fill(a[0], a[1], a[2])),
    Intrinsic("atomic_load", ("pointer",), "target", _atomic_load, lambda _, __, a: a[0].load()),
    Intrinsic("atomic_store", ("pointer", "target"), "none", _atomic_store, lambda _, __, a: a[0].store(a[1])),
    Intrinsic("atomic_add", ("pointer", "target"), "target", _atomic("add"), _atomic_twin(lambda x, y: x + y)),
    Intrinsic("atomic_and", ("pointer", "target"), "target", _atomic("and"), _atomic_twin(lambda x, y: x & y)),
    Intrinsic("atomic_or", ("pointer", "target"), "target", _atomic("or"), _atomic_twin(lambda x, y: x | y)),
    Intrinsic("atomic_xor", ("pointer", "target"), "target", _atomic("xor"), _atomic_twin(lambda x, y: x ^ y)),
    Intrinsic("atomic_swap", ("pointer", "target"), "target", _atomic("xchg"), _atomic_twin(lambda _, y: y)),
    Intrinsic("atomic_min", ("pointer", "target"), "target", _atomic("umin", "min"), _atomic_twin(min)),
    Intrinsic("atomic_max", ("pointer", "target"), "target", _atomic("umax", "max"), _atomic_twin(max)),
    Intrinsic("compare_exchange", ("pointer", "target", "target"), "target", _compare_exchange, _compare_exchange_twin),
    Intrinsic("fence", (), "none", _fence, lambda _, __, ___: None),
    Intrinsic("likely", ("boolean",), "boolean", _expect("true"), lambda _, __, a: a[0]),
    Intrinsic("unlikely", ("boolean",), "boolean", _expect("false"), lambda _, __, a: a[0]),
    Intrinsic("syscall", ("u64", "…u64"), "i64", _syscall, lambda _, __, a: raw_syscall(*a)),
    Intrinsic("ticks", (), "u64", lambda e, _, __, ___: e.ticks(), lambda _, __, ___: time.perf_counter_ns()),
    Intrinsic("float_flags", (), "u32", _float_flags, lambda _, __, ___: host_float_flags()),
    Intrinsic("set_float_control", ("u32", "u32"), "none", _set_float_control, lambda _, __, a: set_host_float_control(a[0], a[1])),
]  # fmt: skip

INTRINSICS = {row.name: row for row in _ROWS}
