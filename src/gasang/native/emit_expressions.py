"""Expressions of the typed tree as LLVM IR. Struct fields and elements are byte offsets from opaque pointers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from gasang.native import tree
from gasang.native.emit_floats import FloatEmitter, float_constant
from gasang.native.symbols import CONVENTIONS, ModuleNames, result_type
from gasang.native.types import ArrayType, FloatType, FunctionType, IntType, PointerType, StructType, Type, boolean

_ADDRESSES = (PointerType, FunctionType)
_INTEGER_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


class ExpressionEmitter(FloatEmitter, ABC):
    """Adds expressions."""

    def __init__(self, names: ModuleNames, strict: bool) -> None:
        super().__init__(strict)
        self.names = names

    @abstractmethod
    def fault(self) -> None:
        """Leave the function with a fault."""

    @abstractmethod
    def local(self, name: str) -> str:
        """The stack slot of a local."""

    @abstractmethod
    def inlined(self, node: tree.Call) -> str | None:
        """A call expanded in place, or None where that is not to be."""

    def expression(self, node: tree.Expression) -> str:
        """Emit an expression; the name of its value."""
        result: str = getattr(self, "expression_" + type(node).__name__)(node)
        return result

    def expression_Constant(self, node: tree.Constant) -> str:  # noqa: N802 - named after the node
        if isinstance(node.type, _ADDRESSES):
            return "null"
        if isinstance(node.type, FloatType):
            return float_constant(node.type, node.value)
        return ("true" if node.value else "false") if node.type is boolean else str(node.value)

    def expression_Local(self, node: tree.Local) -> str:  # noqa: N802
        return self.value(f"load {node.type.llvm}, ptr {self.local(node.name)}")

    # ------------------------------------------------------------------ memory

    def load(self, kind: Type, pointer: str, alignment: int) -> str:
        """Load a number or a pointer; a boolean is a byte that is not 0."""
        if kind is boolean:
            return self.value(f"icmp ne i8 {self.value(f'load i8, ptr {pointer}')}, 0")
        return self.value(f"load {kind.llvm}, ptr {pointer}, align {alignment}")

    def store(self, kind: Type, value: str, pointer: str, alignment: int) -> None:
        """Store a number or a pointer; a boolean takes a whole byte."""
        if kind is boolean:
            self.line(f"store i8 {self.value(f'zext i1 {value} to i8')}, ptr {pointer}")
        else:
            self.line(f"store {kind.llvm} {value}, ptr {pointer}, align {alignment}")

    def expression_Load(self, node: tree.Load) -> str:  # noqa: N802
        return self.load(node.type, self.expression(node.pointer), node.type.alignment)

    def expression_Offset(self, node: tree.Offset) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        index = self.expression(node.index)
        kind = node.index.type
        if kind.bits < 64:
            index = self.value(f"{'sext' if kind.signed else 'zext'} {kind.llvm} {index} to i64")
        return self.value(f"getelementptr {_memory_type(node.type.target)}, ptr {pointer}, i64 {index}")

    def expression_FieldAddress(self, node: tree.FieldAddress) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {node.field.offset}") if node.field.offset else pointer

    def expression_FunctionAddress(self, node: tree.FunctionAddress) -> str:  # noqa: N802
        return self.names.symbol(node.function)

    # ------------------------------------------------------------------ operators

    def expression_Binary(self, node: tree.Binary) -> str:  # noqa: N802
        left, right = self.expression(node.left), self.expression(node.right)
        kind = node.type
        if isinstance(kind, FloatType):
            return self.strict_float(_FLOAT_BINARY[node.operator], kind, [left, right])
        if node.operator in ("floordiv", "mod"):
            return self.floor_division(kind, node.operator, left, right)
        if node.operator in ("shl", "shr"):
            right = self.value(f"and {kind.llvm} {right}, {kind.bits - 1}")
        if node.operator == "shr":
            return self.value(f"{'ashr' if kind.signed else 'lshr'} {kind.llvm} {left}, {right}")
        return self.value(f"{_INTEGER_BINARY[node.operator]} {kind.llvm} {left}, {right}")

    def guarded_division(self, kind: IntType, which: str, left: str, right: str) -> str:
        """Truncating quotient or rest, defined for every operand as RISC-V defines it."""
        t, sign = kind.llvm, "s" if kind.signed else "u"
        zero = self.value(f"icmp eq {t} {right}, 0")
        unsafe = zero
        if kind.signed:
            lowest = self.value(f"icmp eq {t} {left}, {-(1 << (kind.bits - 1))}")
            minus = self.value(f"icmp eq {t} {right}, -1")
            unsafe = self.value(f"or i1 {zero}, {self.value(f'and i1 {lowest}, {minus}')}")
        divisor = self.value(f"select i1 {unsafe}, {t} 1, {t} {right}")
        operation, by_zero = (f"{sign}div", "-1") if which == "quotient" else (f"{sign}rem", left)
        result = self.value(f"{operation} {t} {left}, {divisor}")
        return self.value(f"select i1 {zero}, {t} {by_zero}, {t} {result}")

    def floor_division(self, kind: IntType, operator: str, left: str, right: str) -> str:
        """Python's // and %."""
        which = "quotient" if operator == "floordiv" else "rest"
        result = self.guarded_division(kind, which, left, right)
        if not kind.signed:
            return result
        t = kind.llvm
        rest = result if which == "rest" else self.guarded_division(kind, "rest", left, right)
        uneven = self.value(f"icmp ne {t} {rest}, 0")
        opposed = self.value(f"icmp slt {t} {self.value(f'xor {t} {rest}, {right}')}, 0")
        divisible = self.value(f"icmp ne {t} {right}, 0")
        adjust = self.value(f"and i1 {self.value(f'and i1 {uneven}, {opposed}')}, {divisible}")
        change = self.value(f"select i1 {adjust}, {t} {'-1' if which == 'quotient' else right}, {t} 0")
        return self.value(f"add {t} {result}, {change}")

    def expression_Unary(self, node: tree.Unary) -> str:  # noqa: N802
        operand = self.expression(node.operand)
        t = node.type.llvm
        if isinstance(node.type, FloatType):
            return self.value(f"fneg {t} {operand}")
        if node.operator == "neg":
            return self.value(f"sub {t} 0, {operand}")
        return self.value(f"xor {t} {operand}, -1")

    def expression_Compare(self, node: tree.Compare) -> str:  # noqa: N802
        left, right = self.expression(node.left), self.expression(node.right)
        kind = node.left.type
        if isinstance(kind, FloatType):
            return self.strict_compare("fcmp", _FLOAT_PREDICATES[node.operator], kind, left, right)
        sign = "s" if getattr(kind, "signed", False) else "u"
        predicate = node.operator if node.operator in ("eq", "ne") else sign + node.operator
        return self.value(f"icmp {predicate} {kind.llvm} {left}, {right}")

    def expression_Logic(self, node: tree.Logic) -> str:  # noqa: N802
        left = self.expression(node.left)
        origin, more, after = self.block, self.label("more"), self.label("end")
        short = "false" if node.operator == "and" else "true"
        self.branch(left, *((more, after) if node.operator == "and" else (after, more)))
        self.begin(more)
        right = self.expression(node.right)
        end = self.block
        self.start(after)
        return self.value(f"phi i1 [ {short}, %{origin} ], [ {right}, %{end} ]")

    def expression_Select(self, node: tree.Select) -> str:  # noqa: N802
        then, other, after = self.label("then"), self.label("else"), self.label("end")
        self.branch(self.expression(node.condition), then, other)
        arms = []
        for label, arm in ((then, node.then), (other, node.other)):
            self.begin(label)
            value = self.expression(arm)
            arms.append(f"[ {value}, %{self.block} ]")
            self.jump(after)
        self.begin(after)
        return self.value(f"phi {node.type.llvm} {', '.join(arms)}")

    def expression_Convert(self, node: tree.Convert) -> str:  # noqa: N802
        operand = self.expression(node.operand)
        source, to = node.operand.type, node.type
        if isinstance(source, _ADDRESSES):
            return operand if isinstance(to, _ADDRESSES) else self.value(f"ptrtoint ptr {operand} to i64")
        if isinstance(to, _ADDRESSES):
            return self.value(f"inttoptr i64 {operand} to ptr")
        return self.convert_number(operand, source, to)

    # ------------------------------------------------------------------ calls

    def call_text(self, call: tree.Call | tree.PointerCall) -> tuple[str, str]:
        """A call's LLVM result type and text, without `strictfp`."""
        if isinstance(call, tree.Call):
            target, convention, kind = self.names.symbol(call.function), call.function.convention, result_type(call.function)
        else:
            target, convention = self.expression(call.pointer), call.pointer.type.convention
            kind = "void" if call.type is None else call.type.llvm
        arguments = ", ".join(f"{argument.type.llvm} {self.expression(argument)}" for argument in call.arguments)
        return kind, f"call {CONVENTIONS[convention]}{kind} {target}({arguments}){self.strict}"

    def expression_Call(self, node: tree.Call) -> str:  # noqa: N802
        expanded = self.inlined(node)
        if expanded is not None:
            return expanded
        function = node.function
        kind, text = self.call_text(node)
        if kind == "void":
            self.line(text)
            return ""
        result = self.value(text)
        if node.attempted:
            return self.value(f"xor i1 {result}, true")
        if not function.may_fault:
            return result
        bad = result if function.result is None else self.value(f"extractvalue {kind} {result}, 1")
        fault, going = self.label("fault"), self.label("go")
        self.branch(bad, fault, going)
        self.begin(fault)
        self.fault()
        self.begin(going)
        return "" if function.result is None else self.value(f"extractvalue {kind} {result}, 0")

    def expression_PointerCall(self, node: tree.PointerCall) -> str:  # noqa: N802
        kind, text = self.call_text(node)
        if kind == "void":
            self.line(text)
            return ""
        return self.value(text)

    def expression_IntrinsicCall(self, node: tree.IntrinsicCall) -> str:  # noqa: N802
        operands = [self.expression(argument) for argument in node.arguments]
        kinds: list[Any] = [argument.type for argument in node.arguments]
        return node.intrinsic.emit(self, kinds, operands, node.type_argument)


def _memory_type(kind: Type) -> str:
    if isinstance(kind, (StructType, ArrayType)):
        return f"[{kind.size} x i8]"
    return "i8" if kind is boolean else kind.llvm
