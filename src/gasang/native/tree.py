"""The typed tree between the checker and its two back ends (LLVM and plain Python), and questions about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gasang.native.types import Field, Type

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction
    from gasang.native.intrinsics import Intrinsic


@dataclass
class Expression:
    """A value of a type."""

    type: Any  # Type, or None for a call without result


@dataclass
class Constant(Expression):
    value: Any


@dataclass
class Local(Expression):
    name: str


@dataclass
class Binary(Expression):
    operator: str
    left: Expression
    right: Expression


@dataclass
class Unary(Expression):
    operator: str
    operand: Expression


@dataclass
class Compare(Expression):
    operator: str
    left: Expression
    right: Expression


@dataclass
class Logic(Expression):
    operator: str
    left: Expression
    right: Expression


@dataclass
class Select(Expression):
    condition: Expression
    then: Expression
    other: Expression


@dataclass
class Convert(Expression):
    operand: Expression


@dataclass
class Load(Expression):
    pointer: Expression


@dataclass
class Offset(Expression):
    """pointer + index elements."""

    pointer: Expression
    index: Expression


@dataclass
class FieldAddress(Expression):
    pointer: Expression
    field: Field


@dataclass
class Call(Expression):
    function: NativeFunction
    arguments: list[Expression]
    attempted: bool = False


@dataclass
class IntrinsicCall(Expression):
    intrinsic: Intrinsic
    arguments: list[Expression]
    type_argument: Any = None


@dataclass
class FunctionAddress(Expression):
    function: NativeFunction


@dataclass
class PointerCall(Expression):
    """A call through a function pointer."""

    pointer: Expression
    arguments: list[Expression]


@dataclass
class Statement:
    line: int


@dataclass
class Assign(Statement):
    name: str
    value: Expression


@dataclass
class Store(Statement):
    pointer: Expression
    value: Expression


@dataclass
class Evaluate(Statement):
    value: Expression


@dataclass
class If(Statement):
    test: Expression
    body: list[Statement]
    orelse: list[Statement]


@dataclass
class While(Statement):
    test: Expression
    body: list[Statement]


@dataclass
class For(Statement):
    name: str
    start: Expression
    stop: Expression
    step: int
    body: list[Statement]


@dataclass
class Break(Statement):
    pass


@dataclass
class Continue(Statement):
    pass


@dataclass
class Return(Statement):
    value: Expression | None


@dataclass
class TailReturn(Statement):
    """Return what a call gives, with this frame gone before the call."""

    call: Call | PointerCall


@dataclass
class RaiseFault(Statement):
    pass


@dataclass
class TypedFunction:
    """A checked function: parameters, locals with their types, body."""

    name: str
    parameters: list[tuple[str, Type]]
    result: Type | None
    body: list[Statement]
    local_types: dict[str, Type] = field(default_factory=dict)
    callees: list[NativeFunction] = field(default_factory=list)


def ends(body: list[Statement]) -> bool:
    """Whether control never runs off the end of these statements."""
    return any(_leaves(statement) for statement in body)


def _leaves(statement: Statement) -> bool:
    if isinstance(statement, (Return, TailReturn, RaiseFault)):
        return True
    if isinstance(statement, If):
        return ends(statement.body) and ends(statement.orelse)
    return isinstance(statement, While) and endless(statement) and not has_break(statement.body)


def endless(loop: While) -> bool:
    """Whether only break, return or a fault leaves the loop."""
    return isinstance(loop.test, Constant) and bool(loop.test.value)


def has_break(body: list[Statement]) -> bool:
    """Whether a loop's body leaves that loop by `break`."""
    return any(
        isinstance(statement, Break) or (isinstance(statement, If) and (has_break(statement.body) or has_break(statement.orelse)))
        for statement in body
    )


def parts(node: Expression) -> list[Expression]:
    """The expressions an expression is made of."""
    found: list[Expression] = []
    for part in vars(node).values():
        candidates = part if isinstance(part, list) else [part]
        found += [candidate for candidate in candidates if isinstance(candidate, Expression)]
    return found


def calls(node: Expression) -> bool:
    """Whether computing an expression may do more than give its value."""
    return isinstance(node, (Call, PointerCall, IntrinsicCall)) or any(calls(part) for part in parts(node))
