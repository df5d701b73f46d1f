"""The intrinsics: one table row each, holding the typing rule, the LLVM IR and the plain-Python twin.

An argument's rule is one of: ``int`` any integer, ``float`` any float, ``number`` either, ``place`` a pointer to a number or a pointer,
``word place`` one to an integer or a pointer, ``int place`` one to an integer, ``same`` the first argument's type, ``target`` what the
first argument points to, or the name of a type; the last may be ``…rule``, repeated up to ``most`` arguments in all.
The result is ``same``, ``target``, ``argument`` (the type given first), ``none`` or the name of a type.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gasang.native import float_twin
from gasang.native.memory import Pointer, raw_copy, raw_fill, raw_syscall
from gasang.native.types import IntType, Type, bits_of, from_bits

if TYPE_CHECKING:
    from gasang.native.emit_expressions import ExpressionEmitter

Emit = Callable[["ExpressionEmitter", list[Type], list[str], Any], str]
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
    most: int = 0


def _unary(llvm_name: str, extra: str = "") -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        return e.value(f"call {t} @llvm.{llvm_name}.{t}({t} {a[0]}{extra})")

    return emit


def _binary(llvm_unsigned: str, llvm_signed: str) -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        name = llvm_signed if getattr(types[0], "signed", False) else llvm_unsigned
        return e.value(f"call {t} @llvm.{name}.{t}({t} {a[0]}, {t} {a[1]})")

    return emit


def _rotate(direction: str) -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        t = types[0].llvm
        return e.value(f"call {t} @llvm.fsh{direction}.{t}({t} {a[0]}, {t} {a[0]}, {t} {a[1]})")

    return emit


def _bswap(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    t = types[0].llvm
    return a[0] if types[0].size == 1 else e.value(f"call {t} @llvm.bswap.{t}({t} {a[0]})")


def _high(signed: bool) -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
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
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
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


def _truncating_twin(which: str) -> Twin:
    return lambda types, _, a: truncating_division(types[0], which, a[0], a[1])  # type: ignore[arg-type]


def _signaling_twin(test: Callable[[float, float], bool]) -> Twin:
    return lambda types, _, a: float_twin.compare(types[0], test, a[0], a[1], signaling=True)  # type: ignore[arg-type]


def _bitcast(e: ExpressionEmitter, types: list[Type], a: list[str], to: Any) -> str:
    return a[0] if types[0].llvm == to.llvm else e.value(f"bitcast {types[0].llvm} {a[0]} to {to.llvm}")


def _strict(name: str) -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        return e.strict_float(name, types[0], a)

    return emit


def _float_twin(operation: Callable[..., Any]) -> Twin:
    return lambda types, _, a: operation(types[0], *a)


def _round_to_i64(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    return e.round_to_i64(types[0], a[0])


def _float_compare(predicate: str) -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        return e.strict_compare("fcmps", predicate, types[0], a[0], a[1])

    return emit


def _load_unaligned(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    return e.load(types[0].target, a[0], 1)  # type: ignore[attr-defined]


def _store_unaligned(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    e.store(types[1], a[1], a[0], 1)
    return ""


def _copy(e: ExpressionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.line(f"call void @llvm.memmove.p0.p0.i64(ptr {a[0]}, ptr {a[1]}, i64 {a[2]}, i1 false)")
    return ""


def _fill(e: ExpressionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.line(f"call void @llvm.memset.p0.i64(ptr {a[0]}, i8 {a[1]}, i64 {a[2]}, i1 false)")
    return ""


def _sizeof(_: ExpressionEmitter, __: list[Type], ___: list[str], kind: Any) -> str:
    return str(kind.size)


def _atomic(operation: str, signed_operation: str = "") -> Emit:
    def emit(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
        target = types[0].target  # type: ignore[attr-defined]
        name = signed_operation if signed_operation and target.signed else operation
        return e.value(f"atomicrmw {name} ptr {a[0]}, {target.llvm} {a[1]} seq_cst, align {target.size}")

    return emit


def _atomic_twin(apply: Callable[[int, int], int]) -> Twin:
    def twin(_: list[Type], __: Any, a: list[Any]) -> Any:
        pointer: Pointer = a[0]
        old = pointer.load()
        pointer.store(pointer.type.target.wrap(apply(old, a[1])))
        return old

    return twin


def _swap_twin(_: list[Type], __: Any, a: list[Any]) -> Any:
    old = a[0].load()
    a[0].store(a[1])
    return old


def _atomic_load(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    target = types[0].target  # type: ignore[attr-defined]
    return e.value(f"load atomic {target.llvm}, ptr {a[0]} seq_cst, align {target.size}")


def _atomic_store(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    target = types[0].target  # type: ignore[attr-defined]
    e.line(f"store atomic {target.llvm} {a[1]}, ptr {a[0]} seq_cst, align {target.size}")
    return ""


def _compare_exchange(e: ExpressionEmitter, types: list[Type], a: list[str], _: Any) -> str:
    t = types[0].target  # type: ignore[attr-defined]
    pair = e.value(f"cmpxchg ptr {a[0]}, {t.llvm} {a[1]}, {t.llvm} {a[2]} seq_cst seq_cst, align {t.size}")
    return e.value(f"extractvalue {{ {t.llvm}, i1 }} {pair}, 0")


def _compare_exchange_twin(_: list[Type], __: Any, a: list[Any]) -> Any:
    old = a[0].load()
    if old == a[1]:
        a[0].store(a[2])
    return old


def _fence(e: ExpressionEmitter, _: list[Type], __: list[str], ___: Any) -> str:
    e.line("fence seq_cst")
    return ""


def _expect(value: str) -> Emit:
    def emit(e: ExpressionEmitter, _: list[Type], a: list[str], __: Any) -> str:
        return e.value(f"call i1 @llvm.expect.i1(i1 {a[0]}, i1 {value})")

    return emit


def _syscall(e: ExpressionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    return e.syscall(a)


def _float_flags(e: ExpressionEmitter, _: list[Type], __: list[str], ___: Any) -> str:
    return e.float_flags()


def _set_float_control(e: ExpressionEmitter, _: list[Type], a: list[str], __: Any) -> str:
    e.set_float_control(a[0], a[1])
    return ""


def _digits(kind: Any, value: int) -> str:
    return format(bits_of(kind, value), f"0{kind.bits}b")


def _zeros_above(types: list[Type], _: Any, a: list[Any]) -> int:
    digits = _digits(types[0], a[0])
    return len(digits) - len(digits.lstrip("0"))


def _zeros_below(types: list[Type], _: Any, a: list[Any]) -> int:
    digits = _digits(types[0], a[0])
    return len(digits) - len(digits.rstrip("0"))


def _rotate_left(kind: Any, value: int, count: int) -> int:
    bits, count = kind.bits, count % kind.bits
    value &= (1 << bits) - 1
    return int(kind.wrap((value << count) | (value >> (bits - count))))


def _swap_bytes(kind: Any, value: int) -> int:
    return int(kind.wrap(int.from_bytes(bits_of(kind, value).to_bytes(kind.size, "little"), "big")))


_ROWS = [
    Intrinsic("popcount", ("int",), "same", _unary("ctpop"), lambda t, _, a: bits_of(t[0], a[0]).bit_count()),
    Intrinsic("clz", ("int",), "same", _unary("ctlz", ", i1 false"), _zeros_above),
    Intrinsic("ctz", ("int",), "same", _unary("cttz", ", i1 false"), _zeros_below),
    Intrinsic("bswap", ("int",), "same", _bswap, lambda t, _, a: _swap_bytes(t[0], a[0])),
    Intrinsic("rotl", ("int", "same"), "same", _rotate("l"), lambda t, _, a: _rotate_left(t[0], a[0], a[1])),
    Intrinsic("rotr", ("int", "same"), "same", _rotate("r"), lambda t, _, a: _rotate_left(t[0], a[0], -a[1])),
    Intrinsic("minimum", ("int", "same"), "same", _binary("umin", "smin"), lambda _, __, a: min(a)),
    Intrinsic("maximum", ("int", "same"), "same", _binary("umax", "smax"), lambda _, __, a: max(a)),
    Intrinsic("high_u", ("int", "same"), "same", _high(False), _high_twin(False)),
    Intrinsic("high_s", ("int", "same"), "same", _high(True), _high_twin(True)),
    Intrinsic("divide", ("int", "same"), "same", _truncating("quotient"), _truncating_twin("quotient")),
    Intrinsic("remainder", ("int", "same"), "same", _truncating("rest"), _truncating_twin("rest")),
    Intrinsic("bitcast", ("number",), "argument", _bitcast, lambda t, to, a: from_bits(to, bits_of(t[0], a[0])), takes_type=True),
    Intrinsic("sizeof", (), "u64", _sizeof, lambda _, kind, __: kind.size, takes_type=True),
    Intrinsic("sqrt", ("float",), "same", _strict("sqrt"), _float_twin(float_twin.square_root)),
    Intrinsic("fma", ("float", "same", "same"), "same", _strict("fma"), _float_twin(float_twin.fused)),
    Intrinsic("round_to_i64", ("float",), "i64", _round_to_i64, _float_twin(float_twin.round_to_i64)),
    Intrinsic("less_signaling", ("float", "same"), "boolean", _float_compare("olt"), _signaling_twin(operator.lt)),
    Intrinsic("less_equal_signaling", ("float", "same"), "boolean", _float_compare("ole"), _signaling_twin(operator.le)),
    Intrinsic("load_unaligned", ("place",), "target", _load_unaligned, lambda _, __, a: a[0].load()),
    Intrinsic("store_unaligned", ("place", "target"), "none", _store_unaligned, lambda _, __, a: a[0].store(a[1])),
    Intrinsic("copy", ("ptr[u8]", "ptr[u8]", "u64"), "none", _copy, lambda _, __, a: raw_copy(a[0], a[1], a[2])),
    Intrinsic("fill", ("ptr[u8]", "u8", "u64"), "none", _fill, lambda _, __, a: raw_fill(a[0], a[1], a[2])),
    Intrinsic("atomic_load", ("word place",), "target", _atomic_load, lambda _, __, a: a[0].load()),
    Intrinsic("atomic_store", ("word place", "target"), "none", _atomic_store, lambda _, __, a: a[0].store(a[1])),
    Intrinsic("atomic_add", ("int place", "target"), "target", _atomic("add"), _atomic_twin(lambda x, y: x + y)),
    Intrinsic("atomic_and", ("int place", "target"), "target", _atomic("and"), _atomic_twin(lambda x, y: x & y)),
    Intrinsic("atomic_or", ("int place", "target"), "target", _atomic("or"), _atomic_twin(lambda x, y: x | y)),
    Intrinsic("atomic_xor", ("int place", "target"), "target", _atomic("xor"), _atomic_twin(lambda x, y: x ^ y)),
    Intrinsic("atomic_swap", ("word place", "target"), "target", _atomic("xchg"), _swap_twin),
    Intrinsic("atomic_min", ("int place", "target"), "target", _atomic("umin", "min"), _atomic_twin(min)),
    Intrinsic("atomic_max", ("int place", "target"), "target", _atomic("umax", "max"), _atomic_twin(max)),
    Intrinsic("compare_exchange", ("word place", "target", "target"), "target", _compare_exchange, _compare_exchange_twin),
    Intrinsic("fence", (), "none", _fence, lambda _, __, ___: None),
    Intrinsic("likely", ("boolean",), "boolean", _expect("true"), lambda _, __, a: a[0]),
    Intrinsic("unlikely", ("boolean",), "boolean", _expect("false"), lambda _, __, a: a[0]),
    Intrinsic("syscall", ("u64", "…u64"), "i64", _syscall, lambda _, __, a: raw_syscall(*a), most=7),
    Intrinsic("ticks", (), "u64", lambda e, _, __, ___: e.ticks(), lambda _, __, ___: time.perf_counter_ns()),
    Intrinsic("float_flags", (), "u32", _float_flags, lambda _, __, ___: float_twin.state.flags),
    Intrinsic("set_float_control", ("u32", "u32"), "none", _set_float_control, lambda _, __, a: float_twin.state.set(*a)),
]  # fmt: skip

INTRINSICS = {row.name: row for row in _ROWS}
