"""Floating point in LLVM IR, and what only one processor family has.

Operations are LLVM's constrained ones, so that the thread's rounding mode is honoured and no flag is lost or invented.
"""

from __future__ import annotations

import math

from gasang.core.errors import UnsupportedError
from gasang.native.emit_text import TextEmitter
from gasang.native.foreign import ARGUMENTS, SYSTEM_CALL
from gasang.native.target import is_foreign, machine
from gasang.native.types import FloatType, IntType, Type, bits_of, boolean, f64, i64

_ROUNDING = 'metadata !"round.dynamic"'
_EXCEPTIONS = 'metadata !"fpexcept.strict"'

# Bits of the accrued flags NX, UF, OF, DZ, NV in MXCSR (Intel SDM volume 1, 10.2.3) and FPSR (Arm ARM, C5.2.10).
_FLAG_PLACES = {"x86_64": [5, 4, 3, 2, 0], "aarch64": [4, 3, 2, 1, 0]}
# Per RISC-V rounding mode two bits, from bit 0: MXCSR has nearest 0, down 1, up 2, zero 3; FPCR nearest 0, up 1, down 2, zero 3.
_ROUNDING_CODES = {"x86_64": 0x9C, "aarch64": 0x6C}
_MASK_ALL_EXCEPTIONS = 0x1F80
_SYSCALLS = {
    "x86_64": ("syscall", "={rax}", ["{rax}", "{rdi}", "{rsi}", "{rdx}", "{r10}", "{r8}", "{r9}"], "~{rcx},~{r11},~{memory}"),
    "aarch64": ("svc #0", "={x0}", ["{x8}", "{x0}", "{x1}", "{x2}", "{x3}", "{x4}", "{x5}"], "~{memory}"),
}


class UnsupportedHost(UnsupportedError):
    """The host's processor family has no code for an operation."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation, f"native code for {machine()} has none", "use a host with an x86-64 or AArch64 processor")


def float_constant(kind: FloatType, value: float) -> str:
    """A constant's spelling: its bits as binary64, for both formats."""
    if kind.bits == 32 and abs(value) >= 2.0**128 and not math.isnan(value):
        value = math.copysign(math.inf, value)
    return f"0x{bits_of(f64, value):016X}"


class FloatEmitter(TextEmitter):
    """Adds floating-point operations, the control word and system calls."""

    def strict_float(self, name: str, kind: Type, operands: list[str]) -> str:
        """A floating-point operation under the thread's rounding mode."""
        arguments = ", ".join(f"{kind.llvm} {operand}" for operand in operands)
        callee = f"@llvm.experimental.constrained.{name}{_suffix(kind)}"
        # `nobuiltin`: LLVM computes exact results of known operands itself, and forgets that the sign of a zero depends on the mode.
        return self.value(f"call {kind.llvm} {callee}({arguments}, {_ROUNDING}, {_EXCEPTIONS}) nobuiltin strictfp")

    def strict_convert(self, name: str, to: Type, source: Type, operand: str, rounding: bool) -> str:
        """A conversion from or to a float."""
        extra = f", {_ROUNDING}, {_EXCEPTIONS}" if rounding else f", {_EXCEPTIONS}"
        callee = f"@llvm.experimental.constrained.{name}{_suffix(to)}{_suffix(source)}"
        return self.value(f"call {to.llvm} {callee}({source.llvm} {operand}{extra}) strictfp")

    def strict_compare(self, which: str, predicate: str, kind: Type, left: str, right: str) -> str:
        """A comparison: `fcmp` quiet, `fcmps` signaling."""
        t = kind.llvm
        call = f"call i1 @llvm.experimental.constrained.{which}{_suffix(kind)}({t} {left}, {t} {right}"
        return self.value(f'{call}, metadata !"{predicate}", {_EXCEPTIONS}) strictfp')

    def convert_number(self, operand: str, source: Type, to: Type) -> str:
        """Between integers and floats."""
        if isinstance(source, FloatType):
            return self._from_float(operand, source, to)
        assert isinstance(source, IntType)
        if isinstance(to, FloatType):
            return self.strict_convert("sitofp" if source.signed else "uitofp", to, source, operand, rounding=True)
        assert isinstance(to, IntType)
        if source.bits == to.bits:
            return operand
        if source.bits > to.bits:
            if to is boolean:
                return self.value(f"icmp ne {source.llvm} {operand}, 0")
            return self.value(f"trunc {source.llvm} {operand} to {to.llvm}")
        return self.value(f"{'sext' if source.signed else 'zext'} {source.llvm} {operand} to {to.llvm}")

    def _from_float(self, operand: str, source: FloatType, to: Type) -> str:
        if isinstance(to, FloatType):
            if source.bits == to.bits:
                return operand
            widening = to.bits > source.bits
            return self.strict_convert("fpext" if widening else "fptrunc", to, source, operand, rounding=not widening)
        if to is boolean:
            return self.strict_compare("fcmp", "une", source, operand, float_constant(source, 0.0))
        assert isinstance(to, IntType)
        return self._saturate(operand, source, to)

    def _saturate(self, operand: str, source: FloatType, to: IntType) -> str:
        """Toward zero; only in-range values reach the host's conversion, so that no flag is invented."""
        lowest, highest = to.wrap(1 << (to.bits - 1)) if to.signed else 0, (1 << (to.bits - to.signed)) - 1
        low, high = float_constant(source, float(lowest)), float_constant(source, float(highest + 1))
        inside, outside, after = self.label("inside"), self.label("outside"), self.label("end")
        below_high = self.strict_compare("fcmp", "olt", source, operand, high)
        above_low = self.strict_compare("fcmp", "oge", source, operand, low)
        self.branch(self.value(f"and i1 {below_high}, {above_low}"), inside, outside)
        self.begin(inside)
        converted = self.strict_convert("fptosi" if to.signed else "fptoui", to, source, operand, rounding=False)
        self.jump(after)
        self.begin(outside)
        too_high = self.strict_compare("fcmp", "oge", source, operand, high)
        too_low = self.strict_compare("fcmp", "olt", source, operand, low)
        end = self.value(f"select i1 {too_low}, {to.llvm} {lowest}, {to.llvm} 0")
        end = self.value(f"select i1 {too_high}, {to.llvm} {highest}, {to.llvm} {end}")
        self.jump(after)
        self.begin(after)
        return self.value(f"phi {to.llvm} [ {converted}, %{inside} ], [ {end}, %{outside} ]")

    # ------------------------------------------------------------------ what only one processor family has

    def round_to_i64(self, kind: Type, operand: str) -> str:
        """To an integer by the thread's rounding mode; the lowest one, and "invalid", where none fits."""
        assert isinstance(kind, FloatType)
        if machine() == "x86_64" and not is_foreign():  # the instruction does just that; LLVM would call llrint of the C library
            letter = "d" if kind.bits == 64 else "s"
            return self.value(f'call i64 asm sideeffect "vcvts{letter}2si $1, $0", "=r,x"({kind.llvm} {operand})')
        rounded = self.strict_convert("llrint", i64, kind, operand, rounding=True)
        below = self.strict_compare("fcmp", "olt", kind, operand, float_constant(kind, 2.0**63))
        return self.value(f"select i1 {below}, i64 {rounded}, i64 {-(1 << 63)}")

    def syscall(self, arguments: list[str]) -> str:
        """A Linux system call."""
        if is_foreign():
            operands = ", ".join(f"i64 {argument}" for argument in [*arguments, *["0"] * ARGUMENTS][:ARGUMENTS])
            return self.value(f'call i64 @"{SYSTEM_CALL}"({operands})')
        if machine() not in _SYSCALLS:
            raise UnsupportedHost("system calls")
        text, result, registers, clobbers = _SYSCALLS[machine()]
        constraints = ",".join([result, *registers[: len(arguments)], clobbers])
        operands = ", ".join(f"i64 {argument}" for argument in arguments)
        return self.value(f'call i64 asm sideeffect "{text}", "{constraints}"({operands})')

    def ticks(self) -> str:
        """The host's counter of constant rate (x86: TSC; Arm: CNTVCT_EL0)."""
        if is_foreign():
            raise UnsupportedHost("the counter")
        if machine() == "aarch64":
            return self.value('call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()')
        return self.value("call i64 @llvm.readcyclecounter()")

    def float_flags(self) -> str:
        """The accrued flags as NX UF OF DZ NV, bits 0 to 4."""
        state = self._read_float_state()
        result = "0"
        for position, place in enumerate(_FLAG_PLACES[machine()]):
            bit = self.value(f"and i32 {self.value(f'lshr i32 {state}, {place}')}, 1")
            result = self.value(f"or i32 {result}, {self.value(f'shl i32 {bit}, {position}')}")
        return result

    def _read_float_state(self) -> str:
        if machine() == "x86_64":
            slot = self.slot("i32")
            self.line(f"call void @llvm.x86.sse.stmxcsr(ptr {slot}){self.strict}")
            return self.value(f"load i32, ptr {slot}")
        if machine() == "aarch64":
            wide = self.value("call i64 @llvm.aarch64.get.fpsr()")
            return self.value(f"trunc i64 {wide} to i32")
        raise UnsupportedHost("floating-point flags")

    def set_float_control(self, rounding: str, flags: str) -> None:
        """Set rounding mode (0 nearest, 1 zero, 2 down, 3 up; 4 to 7 are set as nearest) and flags."""
        if machine() not in _FLAG_PLACES:
            raise UnsupportedHost("floating-point control")
        shift = self.value(f"shl i32 {self.value(f'and i32 {rounding}, 7')}, 1")
        mode = self.value(f"and i32 {self.value(f'lshr i32 {_ROUNDING_CODES[machine()]}, {shift}')}, 3")
        state = "0"
        for position, place in enumerate(_FLAG_PLACES[machine()]):
            bit = self.value(f"and i32 {self.value(f'lshr i32 {flags}, {position}')}, 1")
            state = self.value(f"or i32 {state}, {self.value(f'shl i32 {bit}, {place}')}")
        if machine() == "x86_64":
            control = self.value(f"or i32 {state}, {self.value(f'shl i32 {mode}, 13')}")
            slot = self.slot("i32")
            self.line(f"store i32 {self.value(f'or i32 {control}, {_MASK_ALL_EXCEPTIONS}')}, ptr {slot}")
            self.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {slot}){self.strict}")
            return
        self.line(f"call void @llvm.aarch64.set.fpsr(i64 {self.value(f'zext i32 {state} to i64')}){self.strict}")
        wide = self.value(f"zext i32 {self.value(f'shl i32 {mode}, 22')} to i64")
        self.line(f"call void @llvm.aarch64.set.fpcr(i64 {wide}){self.strict}")


def _suffix(kind: Type) -> str:
    return f".f{kind.size * 8}" if isinstance(kind, FloatType) else f".{kind.llvm}"
