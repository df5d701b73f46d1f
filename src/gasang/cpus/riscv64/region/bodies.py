"""Instruction bodies inside a region: the described functions expanded with their operands known, registers in stack slots.

LLVM makes values of the slots. What a body reads of the hart beside registers is either known when the region begins (KNOWN), or memory
that only this thread changes; guest memory is told apart from it, so that neither's loads wait for the other's stores.

A call of what is not to be expanded (software floating point, mostly) leaves the region before the instruction: bodies call it before they
change anything.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from gasang.cpus.riscv64.region.accesses import AccessEmitter
from gasang.cpus.riscv64.region.layout import CPU, HART, field_offset
from gasang.cpus.riscv64.region.plans import ACCESSES, Planned
from gasang.cpus.riscv64.regions import SUBSTITUTES
from gasang.native import NativeFunction, tree
from gasang.native.emit_function import Frame
from gasang.native.symbols import ModuleNames, local_name
from gasang.native.types import FloatType, IntType, PointerType, boolean

NO_REGISTER = 32
KEPT = frozenset({"fs"})
"""Fields that bodies change, kept like registers."""
KNOWN = frozenset({"frm", "context", "privilege"})
"""Fields that nothing inside a region changes, read once."""
_COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}  # fmt: skip


@cache
def assigned(function: NativeFunction) -> frozenset[str]:
    """The names that a function assigns to."""
    found: set[str] = set()
    pending: list[Any] = list(function.tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (tree.Assign, tree.For)):
            found.add(node.name)
        for name in ("body", "orelse"):
            pending += getattr(node, name, [])
    return frozenset(found)


class BodyEmitter(AccessEmitter):
    """Emits bodies. `multi` is whether the machine has several harts."""

    def __init__(self, function: NativeFunction, strict: bool, multi: bool) -> None:
        super().__init__(ModuleNames([]), function, strict)
        self.kept: dict[str, int] = {}
        """Slots and the offsets in Cpu that they stand for."""
        self.planned: Planned | None = None
        self.is_apart = False
        self.words = 0
        """The registers that are kept as words where the text is now: see words.py."""
        self.given: dict[int, str] | None = None
        """The values of an instruction's registers where it is executed anew, for what it writes, which goes to `caught`."""
        self.caught = ""
        self.is_word = False
        """Whether the instruction being emitted writes a word."""
        self.divisor: int | None = None
        """What the instruction being emitted is expected to divide by."""
        self.windows = 0
        self.multi = int(multi)
        self._cpus: set[str] = set()
        self._word_slots: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._values: dict[str, str] = {}

    def keep(self, name: str, offset: int) -> str:
        """The slot of something of Cpu."""
        slot = f"%kept.{name}"
        if slot not in self.kept:
            self.kept[slot] = offset
            self.slots.append(f"  {slot} = alloca i64, align 8")
        return slot

    def keep_word(self, number: int) -> str:
        """The slot of a register that is kept as a word."""
        slot = f"%word.x{number}"
        if slot not in self._word_slots:
            self._word_slots.add(slot)
            self.slots.append(f"  {slot} = alloca i32, align 4")
        return slot

    def kept_value(self, name: str, number: int) -> str:
        """The value of a register, x or f."""
        if name == "x" and self.words >> number & 1:
            return self.value(f"sext i32 {self.value(f'load i32, ptr {self.keep_word(number)}')} to i64")
        return self.value(f"load i64, ptr {self.keep(f'{name}{number}', field_offset(name) + 8 * number)}")

    def kept_apart(self, name: str, number: int) -> str:
        """The same, but LLVM does not take it for the value that there was: what is made of it stays on a way that is hardly ever taken."""
        if name == "x" and self.words >> number & 1:
            word = self.value(f"load i32, ptr {self.keep_word(number)}")
            return self.value(f"sext i32 {self.value(_same('i32', word))} to i64")
        value = self.kept_value(name, number)
        return value if name == "f" else self.value(_same("i64", value))

    # ------------------------------------------------------------------ what is known

    def number_of(self, node: Any) -> int | None:
        """The value of an integer expression that is known now."""
        if isinstance(node, tree.Constant) and isinstance(node.type, IntType):
            return int(node.value)
        if isinstance(node, tree.Local):
            return self._numbers.get(self.local(node.name))
        if isinstance(node, tree.Convert) and isinstance(node.type, IntType) and isinstance(node.operand.type, IntType):
            value = self.number_of(node.operand)
            return None if value is None or node.type is boolean else int(node.type.wrap(value))
        if isinstance(node, tree.Compare):
            left, right = self.number_of(node.left), self.number_of(node.right)
            return None if left is None or right is None else int(_COMPARISONS[node.operator](left, right))
        if isinstance(node, tree.Load) and self.field(node.pointer) == "multi":
            return self.multi
        return None

    def field(self, pointer: Any) -> str | None:
        """The name of the field of Cpu that a pointer leads to."""
        if isinstance(pointer, tree.FieldAddress) and self._is_cpu(pointer.pointer):
            return str(pointer.field.name)
        return None

    def _is_cpu(self, node: Any) -> bool:
        return isinstance(node, tree.Local) and self.local(node.name) in self._cpus

    def register(self, pointer: Any) -> tuple[str, int] | None:
        """(x or f, number) where a pointer leads to a register."""
        if not isinstance(pointer, tree.Offset):
            return None
        base = pointer.pointer.operand if isinstance(pointer.pointer, tree.Convert) else pointer.pointer
        name = self.field(base)
        if name not in ("x", "f"):
            return None
        number = self.number_of(pointer.index)
        assert number is not None, "a body's registers are its operands"
        return name, number

    def kept_slot(self, pointer: Any) -> str | None:
        """The slot of what a pointer leads to, where that is kept."""
        register = self.register(pointer)
        if register is not None:
            return self.keep(f"{register[0]}{register[1]}", field_offset(register[0]) + 8 * register[1])
        name = self.field(pointer)
        return self.keep(name, field_offset(name)) if name in KEPT else None

    # ------------------------------------------------------------------ expressions

    def expression(self, node: tree.Expression) -> str:
        """Emit an expression; the name of its value."""
        if isinstance(node.type, IntType):
            number = self.number_of(node)
            if number is not None:
                return ("true" if number else "false") if node.type is boolean else str(number)
        return super().expression(node)

    def expression_Local(self, node: tree.Local) -> str:  # noqa: N802 - named after the node
        slot = self.local(node.name)
        if slot in self._cpus:
            return CPU
        return self._values.get(slot) or super().expression_Local(node)

    def expression_Load(self, node: tree.Load) -> str:  # noqa: N802
        register = self.register(node.pointer)
        if register is not None:
            if register == ("x", 0):
                return "0"
            return self.given[register[1]] if self.given is not None else self.kept_value(*register)
        slot = self.kept_slot(node.pointer)
        if slot is not None:
            return self.value(f"load i64, ptr {slot}")
        if self.field(node.pointer) in KNOWN:
            return f"%known.{self.field(node.pointer)}"
        return self.value(f"load {node.type.llvm}, ptr {self.expression(node.pointer)}, align {node.type.alignment}{HART}")

    def expression_Select(self, node: tree.Select) -> str:  # noqa: N802
        known = self.number_of(node.condition)
        if known is not None:
            return self.expression(node.then if known else node.other)
        return super().expression_Select(node)

    def guarded_division(self, kind: IntType, which: str, left: str, right: str) -> str:
        """A division; by the number it is expected to divide by, if that is it, LLVM multiplies."""
        if self.divisor is None:
            return super().guarded_division(kind, which, left, right)
        expected, other, after = self.label("expected"), self.label("other"), self.label("divided")
        number = str(int(kind.wrap(self.divisor)))
        met = self.value(f"icmp eq {kind.llvm} {right}, {number}")
        self.branch(self.value(f"call i1 @llvm.expect.i1(i1 {met}, i1 true)"), expected, other)
        arms = []
        for label, divisor in ((expected, number), (other, right)):
            self.begin(label)
            result = super().guarded_division(kind, which, left, divisor)
            arms.append(f"[ {result}, %{self.block} ]")
            self.jump(after)
        self.begin(after)
        return self.value(f"phi {kind.llvm} {', '.join(arms)}")

    # ------------------------------------------------------------------ statements

    def statement_Store(self, node: tree.Store) -> None:  # noqa: N802
        value = self.expression(node.value)
        register = self.register(node.pointer)
        if register == ("x", NO_REGISTER):
            return
        if self.given is not None:
            self.caught = value
            return
        if register is not None and register[0] == "x" and self.is_word:
            self.line(f"store i32 {self.value(f'trunc i64 {value} to i32')}, ptr {self.keep_word(register[1])}")
            return
        slot = self.kept_slot(node.pointer)
        if slot is None:
            self.line(f"store {node.value.type.llvm} {value}, ptr {self.expression(node.pointer)}, align {node.value.type.alignment}{HART}")
            return
        self.line(f"store i64 {value}, ptr {slot}")

    def statement_If(self, node: tree.If) -> None:  # noqa: N802
        known = self.number_of(node.test)
        if known is None:
            super().statement_If(node)
        else:
            self.statements(node.body if known else node.orelse)

    # ------------------------------------------------------------------ calls

    def inlined(self, node: tree.Call) -> str | None:
        """Every call is expanded, or leaves the region."""
        access = ACCESSES.get(node.function)
        if access is not None:
            return self.accessed(access, [self.expression(argument) for argument in node.arguments[1:]])
        function = SUBSTITUTES.get(node.function, node.function)
        if function.inline is False or any(frame.function is function for frame in self.frames):
            self.jump(self.way_out())
            self.begin(self.label("never"))
            return _anything(function)
        given: list[Any] = []
        for argument in node.arguments:
            number = self.number_of(argument)
            given.append(CPU if self._is_cpu(argument) else number if number is not None else self.expression(argument))
        frame = self.enter(function, given)
        self.statements(function.tree.body)
        self.leave(frame)
        return self._after_inlined(frame, node.attempted)

    def inline(self, function: NativeFunction, given: list[Any]) -> str:
        """The result of a function that cannot fault, expanded here."""
        frame = self.enter(function, given)
        self.statements(function.tree.body)
        self.leave(frame)
        return self._after_inlined(frame, attempted=False)

    def enter(self, function: NativeFunction, given: list[Any]) -> Frame:
        """Begin to expand a function; `given` are its arguments: CPU, a known number, or an emitted value."""
        result = "" if function.result is None else self.slot(function.result.llvm)
        frame = Frame(function, f"{self.label('inlined')}.", result, self.label("after"), self.label("fault"))
        changed = assigned(function)
        parameters = {name for name, _ in function.tree.parameters}
        for (name, kind), value in zip(function.tree.parameters, given, strict=True):
            slot = local_name(frame.prefix + name)
            if value is CPU:
                self._cpus.add(slot)
            elif name in changed:
                self.slots.append(f"  {slot} = alloca {kind.llvm}, align {kind.alignment}")
                self.line(f"store {kind.llvm} {value}, ptr {slot}")
            elif isinstance(value, int):
                self._numbers[slot] = value
            else:
                self._values[slot] = value
        for name, kind in function.tree.local_types.items():
            if name not in parameters:
                self.slots.append(f"  {local_name(frame.prefix + name)} = alloca {kind.llvm}, align {kind.alignment}")
        self.frames.append(frame)
        return frame

    def leave(self, frame: Frame) -> None:
        """The expanded function's text is complete."""
        self.jump(frame.after)
        self.frames.pop()


def _same(kind: str, value: str) -> str:
    return f'call {kind} asm "", "=r,0"({kind} {value})'


def _anything(function: NativeFunction) -> str:
    """A value for code that is never reached."""
    kind = function.result
    return "" if kind is None else "null" if isinstance(kind, PointerType) else "0.0" if isinstance(kind, FloatType) else "0"
