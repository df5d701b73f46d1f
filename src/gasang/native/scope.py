"""What the names in a native function mean: locals, constants of the module, types, intrinsics; and how a broken rule is told."""

from __future__ import annotations

import ast
import enum
import operator
from typing import Any

from gasang.native import tree
from gasang.native.errors import NativeError
from gasang.native.names import IntrinsicName, Null
from gasang.native.types import ArrayType, StructType, Type, ptr

MISSING = object()
_FOLD: dict[type[ast.AST], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.USub: operator.neg, ast.Invert: operator.invert, ast.UAdd: operator.pos, ast.Div: operator.truediv,
}  # fmt: skip
_LONGEST_SHIFT = 1024


class Scope:
    """The names of one function. `namespace` is what its free names mean."""

    def __init__(self, definition: ast.FunctionDef, namespace: dict[str, Any], file: str, function: tree.TypedFunction) -> None:
        self.definition = definition
        self.namespace = namespace
        self.file = file
        self.function = function
        self.assigned = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}

    def refusal(self, node: ast.AST, rule: str) -> NativeError:
        """The error that says which rule is broken where."""
        return NativeError(self.file, getattr(node, "lineno", self.definition.lineno), rule)

    def constant(self, node: ast.expr) -> Any:
        """The value of an expression of literals and module constants, or MISSING."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _FOLD:
            return self._fold(node, type(node.op), self.constant(node.left), self.constant(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _FOLD:
            return self._fold(node, type(node.op), self.constant(node.operand))
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.static(node)
            if isinstance(value, enum.Enum):
                value = value.value
            if isinstance(value, (int, float, Null)):
                return value
        return MISSING

    def _fold(self, node: ast.expr, operation: type[ast.AST], *operands: Any) -> Any:
        if any(operand is MISSING or isinstance(operand, (bool, Null)) for operand in operands):
            return MISSING
        if operation in (ast.LShift, ast.RShift) and isinstance(operands[1], int) and operands[1] > _LONGEST_SHIFT:
            raise self.refusal(node, f"a constant shifted by {operands[1]}: {_LONGEST_SHIFT} is the most")
        try:
            return _FOLD[operation](*operands)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise self.refusal(node, f"the constant {ast.unparse(node)} has no value: {error}") from error

    def static(self, node: ast.expr) -> Any:
        """The Python object a name or dotted name means outside the function, or MISSING."""
        if isinstance(node, ast.Name):
            is_local = node.id in self.function.local_types or node.id in self.assigned
            return MISSING if is_local else self.namespace.get(node.id, MISSING)
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            return MISSING if base is MISSING or isinstance(base, Type) else getattr(base, node.attr, MISSING)
        return MISSING

    def meaning(self, node: ast.expr) -> str:
        """The name of the intrinsic that an expression names, or nothing."""
        value = self.static(node)
        return value.name if isinstance(value, IntrinsicName) else ""

    def type_of(self, node: ast.expr) -> Type:
        """The type an annotation names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.type_of(ast.copy_location(ast.parse(node.value, mode="eval").body, node))
        if isinstance(node, ast.Subscript) and self.static(node.value) is ptr:
            pointer: Type = ptr[self.type_of(node.slice)]
            return pointer
        value = self.static(node)
        if not isinstance(value, Type):
            raise self.refusal(node, f"{ast.unparse(node)} is no native type")
        return value

    def value_type_of(self, node: ast.expr) -> Type:
        """The type an annotation names, which must be one that a variable can hold."""
        kind = self.type_of(node)
        if isinstance(kind, (StructType, ArrayType)):
            raise self.refusal(node, f"a whole {kind} is no value: take ptr[{kind}]")
        return kind
