"""The rules for expressions: their types, literals, places in memory, operators."""

from __future__ import annotations

import ast
import math
from typing import Any

from gasang.native import tree
from gasang.native.names import Null
from gasang.native.scope import MISSING, Scope
from gasang.native.types import ArrayType, FloatType, FunctionType, IntType, PointerType, StructType, Type, boolean, i64, null_type, ptr

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Div: "div",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
}  # fmt: skip
_FLOAT_OPERATORS = ("add", "sub", "mul", "div")
_BOOLEAN_OPERATORS = ("and", "or", "xor")
_SIGNS = dict(zip(ARITHMETIC.values(), ("+", "-", "*", "//", "%", "/", "&", "|", "^", "<<", ">>"), strict=True))


class ExpressionChecker(Scope):
    """Adds expressions."""

    def expression(self, node: ast.expr, want: Type | None) -> tree.Expression:
        """The typed expression. `want` is the type a literal in it takes where nothing else says."""
        made = self.maybe_nothing(node, want)
        if made.type is None:
            raise self.refusal(node, f"{ast.unparse(node)} gives no result")
        return made

    def maybe_nothing(self, node: ast.expr, want: Type | None) -> tree.Expression:
        """As `expression`, and calls that give no result."""
        constant = self.constant(node)
        if constant is not MISSING:
            return self.literal(node, constant, want)
        handler = getattr(self, "expression_" + type(node).__name__, None)
        if handler is None:
            raise self.refusal(node, f"{ast.unparse(node)} ({type(node).__name__}) is no native expression")
        made: tree.Expression = handler(node, want)
        return made

    def expected(self, node: ast.AST, value: tree.Expression, kind: Type) -> tree.Expression:
        """The value, which must be of that type; null becomes a pointer of it."""
        if value.type == kind:
            return value
        if value.type == null_type and isinstance(kind, (PointerType, FunctionType)):
            return tree.Constant(kind, 0)
        raise self.refusal(node, f"{kind} is needed, this is {value.type}")

    def condition(self, node: ast.expr) -> tree.Expression:
        """A boolean."""
        return self.expected(node, self.expression(node, boolean), boolean)

    # ------------------------------------------------------------------ literals and names

    def literal(self, node: ast.expr, value: Any, want: Type | None) -> tree.Expression:
        """A constant in the type wanted."""
        if isinstance(value, Null):
            return tree.Constant(want if isinstance(want, (PointerType, FunctionType)) else null_type, 0)
        if isinstance(value, bool):
            return tree.Constant(boolean, value)
        if isinstance(want, FloatType):
            return tree.Constant(want, self.float_literal(node, value, want))
        if isinstance(value, float):
            raise self.refusal(node, f"the literal {value} needs a float type{_not(want)}: annotate it or convert it")
        if not isinstance(want, IntType) or want is boolean:
            raise self.refusal(node, f"the literal {value} needs an integer type{_not(want)}: annotate it or convert it")
        if not want.contains(value):
            raise self.refusal(node, f"{value} does not fit {want}")
        return tree.Constant(want, int(value))

    def float_literal(self, node: ast.expr, value: Any, kind: FloatType) -> float:
        """A number as the nearest float."""
        try:
            made = kind(value)
        except OverflowError:
            made = math.inf
        if math.isinf(made) and not (isinstance(value, float) and math.isinf(value)):
            raise self.refusal(node, f"{value} does not fit {kind}")
        return made

    def expression_Name(self, node: ast.Name, want: Type | None) -> tree.Expression:  # noqa: N802 - named after the node
        kind = self.function.local_types.get(node.id)
        if kind is None:
            raise self.refusal(node, f"{node.id} {self.unusable(node.id)}")
        return tree.Local(kind, node.id)

    def unusable(self, name: str) -> str:
        """Why a name that is no local is no value."""
        if name in self.assigned:
            return "has no value yet"
        if name not in self.namespace:
            return "is not known here"
        return f"is a {type(self.namespace[name]).__name__} of the module: only its numbers and native functions can be used"

    # ------------------------------------------------------------------ places in memory

    def expression_Attribute(self, node: ast.Attribute, want: Type | None) -> tree.Expression:  # noqa: N802
        return self.load(self.place(node))

    expression_Subscript = expression_Attribute  # noqa: N815

    def load(self, place: tree.Expression) -> tree.Expression:
        """What lies at a place."""
        target = place.type.target
        if isinstance(target, StructType):
            return place  # a nested struct is used through its address
        if isinstance(target, ArrayType):
            return tree.Convert(ptr[target.element], place)
        return tree.Load(target, place)

    def place(self, node: ast.expr) -> tree.Expression:
        """The address an lvalue names, as an expression of pointer type."""
        if isinstance(node, ast.Subscript):
            base = self.pointer(node.value)
            return tree.Offset(base.type, base, self.index(node.slice))
        if not isinstance(node, ast.Attribute):
            raise self.refusal(node, f"{ast.unparse(node)} is no place in memory")
        base = self.pointer(node.value)
        fields = getattr(base.type.target, "fields", {})
        if node.attr not in fields:
            raise self.refusal(node, f"{base.type.target} has no field {node.attr}")
        field = fields[node.attr]
        return tree.FieldAddress(ptr[field.type], base, field)

    def pointer(self, node: ast.expr) -> tree.Expression:
        """An expression that must be a pointer."""
        value = self.expression(node, None)
        if not isinstance(value.type, PointerType) or value.type.target is None:
            raise self.refusal(node, f"{ast.unparse(node)} is {value.type}, no pointer")
        return value

    def index(self, node: ast.expr) -> tree.Expression:
        """A number of elements."""
        value = self.expression(node, i64)
        if not isinstance(value.type, IntType) or value.type.bits > 64 or value.type is boolean:
            raise self.refusal(node, f"an index is an integer of at most 64 bits, not {value.type}")
        return value

    # ------------------------------------------------------------------ operators

    def expression_BinOp(self, node: ast.BinOp, want: Type | None) -> tree.Expression:  # noqa: N802
        symbol = self.operator(node, node.op)
        if self.constant(node.left) is not MISSING:
            right = self.expression(node.right, want)
            return self.arithmetic(node, symbol, self.expression(node.left, right.type), right)
        return self.binary(node, symbol, self.expression(node.left, want), node.right)

    def operator(self, node: ast.AST, symbol: ast.operator) -> str:
        """The name of an arithmetic operator."""
        if type(symbol) not in ARITHMETIC:
            raise self.refusal(node, f"no operator {type(symbol).__name__}")
        return ARITHMETIC[type(symbol)]

    def binary(self, node: ast.AST, symbol: str, left: tree.Expression, right: ast.expr) -> tree.Expression:
        """An operator whose left side is known: numbers of the same type, or a pointer moved by elements."""
        if isinstance(left.type, PointerType):
            return self.moved_pointer(node, symbol, left, right)
        return self.arithmetic(node, symbol, left, self.expression(right, left.type))

    def moved_pointer(self, node: ast.AST, symbol: str, left: tree.Expression, right: ast.expr) -> tree.Expression:
        """A pointer some elements further or back."""
        if symbol not in ("add", "sub") or left.type.target is None:
            raise self.refusal(node, f"{left.type} moves by + and - only" if left.type.target else "null points to no elements")
        index = self.index(right)
        if symbol == "sub":
            index = tree.Unary(i64, "neg", index if index.type == i64 else tree.Convert(i64, index))
        return tree.Offset(left.type, left, index)

    def arithmetic(self, node: ast.AST, symbol: str, left: tree.Expression, right: tree.Expression) -> tree.Expression:
        """An operator on two numbers of the same type."""
        kind = left.type
        if kind != right.type:
            raise self.refusal(node, f"{kind} and {right.type} do not mix: convert one")
        allowed = isinstance(kind, FloatType) and symbol in _FLOAT_OPERATORS
        allowed |= isinstance(kind, IntType) and kind is not boolean and symbol != "div"
        allowed |= kind is boolean and symbol in _BOOLEAN_OPERATORS
        if not allowed:
            raise self.refusal(node, f"no {_SIGNS[symbol]} for {kind}")
        return tree.Binary(kind, symbol, left, right)

    def expression_UnaryOp(self, node: ast.UnaryOp, want: Type | None) -> tree.Expression:  # noqa: N802
        if isinstance(node.op, ast.Not):
            return tree.Unary(boolean, "not", self.condition(node.operand))
        operand = self.expression(node.operand, want)
        name = {ast.USub: "neg", ast.Invert: "invert"}.get(type(node.op))
        is_number = isinstance(operand.type, IntType) and operand.type is not boolean
        if name is None or not (is_number or (name == "neg" and isinstance(operand.type, FloatType))):
            raise self.refusal(node, f"no {type(node.op).__name__} for {operand.type}")
        return tree.Unary(operand.type, name, operand)

    def expression_BoolOp(self, node: ast.BoolOp, want: Type | None) -> tree.Expression:  # noqa: N802
        name = "and" if isinstance(node.op, ast.And) else "or"
        result = self.condition(node.values[0])
        for value in node.values[1:]:
            result = tree.Logic(boolean, name, result, self.condition(value))
        return result

    def expression_Compare(self, node: ast.Compare, want: Type | None) -> tree.Expression:  # noqa: N802
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            raise self.refusal(node, "one comparison at a time, of ==, !=, <, <=, >, >=")
        name, right_node = _COMPARISONS[type(node.ops[0])], node.comparators[0]
        if self.constant(node.left) is not MISSING and self.constant(right_node) is MISSING:
            right = self.expression(right_node, None)
            left = self.expected(node, self.expression(node.left, right.type), right.type)
        else:
            left = self.expression(node.left, None)
            right = self.expected(node, self.expression(right_node, left.type), left.type)
        return tree.Compare(boolean, name, left, right)

    def expression_IfExp(self, node: ast.IfExp, want: Type | None) -> tree.Expression:  # noqa: N802
        test = self.condition(node.test)
        if self.constant(node.body) is not MISSING and want is None:
            other = self.expression(node.orelse, want)
            then = self.expected(node, self.expression(node.body, other.type), other.type)
        else:
            then = self.expression(node.body, want)
            other = self.expected(node, self.expression(node.orelse, then.type), then.type)
        return tree.Select(then.type, test, then, other)


def _not(want: Type | None) -> str:
    return "" if want is None else f", not {want}"
