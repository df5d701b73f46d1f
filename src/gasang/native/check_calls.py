"""The rules for calls: native functions, function pointers, conversions, intrinsics and the special forms."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from gasang.native import tree
from gasang.native.check_expressions import ExpressionChecker
from gasang.native.intrinsics import INTRINSICS, Intrinsic
from gasang.native.names import IntrinsicName, Null
from gasang.native.scope import MISSING
from gasang.native.types import (
    ArrayType,
    FloatType,
    FunctionType,
    IntType,
    PointerType,
    StructType,
    Type,
    boolean,
    f32,
    f64,
    i32,
    i64,
    ptr,
    u8,
    u16,
    u32,
    u64,
)


def _is_integer(kind: Type) -> bool:
    return isinstance(kind, IntType) and kind is not boolean


def _is_word(kind: Type) -> bool:
    return _is_integer(kind) or isinstance(kind, (PointerType, FunctionType))


def _points_to(test: Callable[[Type], bool]) -> Callable[[Type], bool]:
    return lambda kind: isinstance(kind, PointerType) and kind.target is not None and test(kind.target)


# What an argument's rule in the table of intrinsics asks for: a test and its name.
_FAMILIES: dict[str, tuple[Callable[[Type], bool], str]] = {
    "int": (_is_integer, "an integer"),
    "float": (lambda kind: isinstance(kind, FloatType), "a float"),
    "number": (lambda kind: _is_integer(kind) or isinstance(kind, FloatType), "an integer or a float"),
    "place": (_points_to(lambda kind: not isinstance(kind, (StructType, ArrayType))), "a pointer to a number or a pointer"),
    "word place": (_points_to(_is_word), "a pointer to an integer or a pointer"),
    "int place": (_points_to(_is_integer), "a pointer to an integer"),
}
_NAMED: dict[str, Type] = {kind.name: kind for kind in (u8, u16, u32, u64, i32, i64, f32, f64, boolean, ptr[u8])}


class CallChecker(ExpressionChecker):
    """Adds calls."""

    may_fault: bool

    def expression_Call(self, node: ast.Call, want: Type | None) -> tree.Expression:  # noqa: N802 - named after the node
        if node.keywords:
            raise self.refusal(node, "native calls take positional arguments")
        callee = self.static(node.func)
        if isinstance(callee, (IntType, FloatType)):
            return self.conversion(node, callee)
        if isinstance(callee, IntrinsicName):
            special = getattr(self, "special_" + callee.name, None)
            made: tree.Expression = special(node) if special is not None else self.intrinsic(node, INTRINSICS[callee.name])
            return made
        return self.call(node)

    def call(self, node: ast.Call, attempted: bool = False) -> tree.Call | tree.PointerCall:
        """A call of a native function or through a function pointer."""
        from gasang.native.function import NativeFunction

        callee = self.static(node.func)
        if isinstance(callee, NativeFunction):
            parameters = [kind for _, kind in callee.parameters]
            if callee.may_fault and not (self.may_fault or attempted):
                raise self.refusal(node, f"{callee.__name__} may fault: mark this function may_fault=True or use attempt(…)")
            self.function.callees.append(callee)
            return tree.Call(callee.result, callee, self.arguments(node, callee.__name__, node.args, parameters))
        if callee is MISSING:
            pointer = self.expression(node.func, None)
            if isinstance(pointer.type, FunctionType):
                arguments = self.arguments(node, "the function pointer", node.args, list(pointer.type.parameters))
                return tree.PointerCall(pointer.type.result, pointer, arguments)
        raise self.refusal(node, f"{ast.unparse(node.func)} is no native function")

    def arguments(self, node: ast.AST, name: str, given: list[ast.expr], kinds: list[Any]) -> list[tree.Expression]:
        """A call's arguments, each of its parameter's type."""
        self.count(node, name, given, len(kinds))
        return [self.expected(part, self.expression(part, kind), kind) for part, kind in zip(given, kinds, strict=True)]

    def count(self, node: ast.AST, name: str, given: list[ast.expr], wanted: int) -> None:
        """Refuse any other number of arguments."""
        if len(given) != wanted:
            raise self.refusal(node, f"{name} takes {wanted} argument{'' if wanted == 1 else 's'}, {len(given)} given")

    def conversion(self, node: ast.Call, kind: IntType | FloatType) -> tree.Expression:
        """`u64(x)` and the like."""
        self.count(node, f"{kind}(…)", node.args, 1)
        constant = self.constant(node.args[0])
        if isinstance(constant, Null):
            constant = 0 if kind == u64 else MISSING
        if constant is not MISSING:
            value = self.float_literal(node, constant, kind) if isinstance(kind, FloatType) else kind(constant)
            return tree.Constant(kind, value)
        operand = self.expression(node.args[0], None)
        if isinstance(operand.type, (PointerType, FunctionType)) and kind != u64:
            raise self.refusal(node, "an address converts to u64")
        return operand if operand.type == kind else tree.Convert(kind, operand)

    # ------------------------------------------------------------------ intrinsics

    def intrinsic(self, node: ast.Call, row: Intrinsic) -> tree.Expression:
        """A call of a row of the table."""
        given = list(node.args)
        type_argument = self.type_of(given.pop(0)) if row.takes_type and given else None
        rules = list(row.arguments)
        if rules and rules[-1].startswith("…"):
            repeated = min(max(len(given) - len(rules) + 1, 0), row.most - len(rules) + 1)
            rules = rules[:-1] + [rules[-1][1:]] * repeated
        self.count(node, row.name, node.args, len(rules) + row.takes_type)
        made: list[tree.Expression] = []
        for part, rule in zip(given, rules, strict=True):
            made.append(self.intrinsic_argument(row, part, rule, made))
        result = self.intrinsic_result(row, made, type_argument)
        if row.name == "bitcast" and not (_FAMILIES["number"][0](result) and result.size == made[0].type.size):
            raise self.refusal(node, f"{made[0].type} has not the width of {result}, or that is no number")
        return tree.IntrinsicCall(result, row, made, type_argument)

    def intrinsic_argument(self, row: Intrinsic, node: ast.expr, rule: str, before: list[tree.Expression]) -> tree.Expression:
        """One argument, by the rule the table has for it."""
        if rule in ("same", "target"):
            kind = before[0].type if rule == "same" else before[0].type.target
            return self.expected(node, self.expression(node, kind), kind)
        if rule in _FAMILIES:
            fits, name = _FAMILIES[rule]
            value = self.expression(node, None)
            if not fits(value.type):
                raise self.refusal(node, f"{row.name} takes {name}, not {value.type}")
            return value
        kind = _NAMED[rule]
        return self.expected(node, self.expression(node, kind), kind)

    def intrinsic_result(self, row: Intrinsic, made: list[tree.Expression], type_argument: Any) -> Any:
        """The type an intrinsic gives; None for nothing."""
        if row.result == "none":
            return None
        if row.result == "same":
            return made[0].type
        if row.result == "target":
            return made[0].type.target
        return type_argument if row.result == "argument" else _NAMED[row.result]

    # ------------------------------------------------------------------ special forms

    def special_ref(self, node: ast.Call) -> tree.Expression:
        """`ref(lvalue)`."""
        self.count(node, "ref", node.args, 1)
        place = self.place(node.args[0])
        if isinstance(place.type.target, ArrayType):
            return tree.Convert(ptr[place.type.target.element], place)
        return place

    def special_cast(self, node: ast.Call) -> tree.Expression:
        """`cast(ptr[T], x)`."""
        self.count(node, "cast", node.args, 2)
        kind = self.type_of(node.args[0])
        value = self.expression(node.args[1], u64)
        takes = value.type == u64 or isinstance(value.type, (PointerType, FunctionType))
        if not isinstance(kind, (PointerType, FunctionType)) or not takes:
            raise self.refusal(node, f"cast makes a pointer of a u64 or a pointer, not {kind} of {value.type}")
        return tree.Convert(kind, value)

    def special_address_of(self, node: ast.Call) -> tree.Expression:
        """`address_of(native_function)`."""
        from gasang.native.function import NativeFunction

        self.count(node, "address_of", node.args, 1)
        callee = self.static(node.args[0])
        if not isinstance(callee, NativeFunction):
            raise self.refusal(node, "address_of takes a native function")
        if callee.may_fault:
            raise self.refusal(node, f"{callee.__name__} may fault, which a call through a pointer could not tell")
        self.function.callees.append(callee)
        return tree.FunctionAddress(callee.pointer_type, callee)

    def special_attempt(self, node: ast.Call) -> tree.Expression:
        """`attempt(f, arguments…)`: its arguments are no part of the attempt."""
        if not node.args:
            raise self.refusal(node, "write: attempt(function, arguments…)")
        made = self.call(ast.copy_location(ast.Call(node.args[0], node.args[1:], []), node), attempted=True)
        if not isinstance(made, tree.Call) or made.type is not None or not made.function.may_fault:
            raise self.refusal(node, "attempt takes a native function that may fault and gives no result")
        made.attempted = True
        made.type = boolean
        return made

    def special_tail_call(self, node: ast.Call) -> tree.Expression:
        """`tail_call` anywhere but right behind `return`."""
        raise self.refusal(node, "write: return tail_call(…)")
