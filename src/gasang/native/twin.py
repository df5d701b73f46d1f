"""The plain-Python twin of a native function: the typed tree evaluated directly, with the same results as compiled code.

It exists to check the compiler and to step through native code in a debugger; speed is no aim. Addresses of functions are its own: code
addresses that compiled code left in memory mean nothing here.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from gasang.native import float_twin, tree
from gasang.native.errors import Fault
from gasang.native.memory import Pointer, address_from, load_from
from gasang.native.types import FloatType, FunctionType, IntType, PointerType, bits_of, boolean, from_bits

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction

_COMPARE = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}
_PLAIN = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_, "or": operator.or_, "xor": operator.xor}


_FLOAT: dict[str, Any] = {
    "add": float_twin.add, "sub": float_twin.subtract, "mul": float_twin.multiply, "div": float_twin.divide,
}  # fmt: skip
_functions: dict[int, NativeFunction] = {}  # what an address of a function means here: its id, alive as long as this table


class _Return(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


class _TailCall(Exception):
    def __init__(self, function: NativeFunction, arguments: list[Any]) -> None:
        self.function = function
        self.arguments = arguments


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def run_twin(function: NativeFunction, arguments: list[Any]) -> Any:
    """Run the function as plain Python. Raises Fault where the compiled function reports a fault."""
    while True:
        values = dict(zip((name for name, _ in function.tree.parameters), arguments, strict=True))
        try:
            _run(function.tree.body, values)
        except _Return as done:
            return done.value
        except _TailCall as call:  # in a loop: a chain of tail calls may be longer than Python's stack
            function, arguments = call.function, call.arguments
            continue
        return None


def import_value(kind: Any, argument: Any) -> Any:
    """A Python caller's argument as a value of the type."""
    if isinstance(kind, PointerType):
        return Pointer(kind, address_from(argument))
    if isinstance(kind, FunctionType):
        return argument if isinstance(argument, int) else function_token(argument)
    if isinstance(kind, IntType):
        return kind(argument)
    return kind.wrap(float(argument))


def function_token(function: NativeFunction) -> int:
    """What stands for the function's address."""
    _functions[id(function)] = function
    return id(function)


def _function_at(token: int) -> NativeFunction:
    if token not in _functions:
        raise ValueError(f"no native function that runs as plain Python has the address {token:#x}")
    return _functions[token]


def _run(body: list[tree.Statement], values: dict[str, Any]) -> None:
    for statement in body:
        _STATEMENTS[type(statement)](statement, values)


def _assign(node: tree.Assign, values: dict[str, Any]) -> None:
    values[node.name] = _evaluate(node.value, values)


def _store(node: tree.Store, values: dict[str, Any]) -> None:
    value = _evaluate(node.value, values)
    _evaluate(node.pointer, values).store(value)


def _if(node: tree.If, values: dict[str, Any]) -> None:
    _run(node.body if _evaluate(node.test, values) else node.orelse, values)


def _while(node: tree.While, values: dict[str, Any]) -> None:
    while _evaluate(node.test, values):
        if not _iterate(node.body, values):
            break


def _for(node: tree.For, values: dict[str, Any]) -> None:
    for value in range(_evaluate(node.start, values), _evaluate(node.stop, values), node.step):
        values[node.name] = value
        if not _iterate(node.body, values):
            break


def _iterate(body: list[tree.Statement], values: dict[str, Any]) -> bool:
    try:
        _run(body, values)
    except _Break:
        return False
    except _Continue:
        pass
    return True


def _break(node: tree.Break, values: dict[str, Any]) -> None:
    raise _Break


def _continue(node: tree.Continue, values: dict[str, Any]) -> None:
    raise _Continue


def _return(node: tree.Return, values: dict[str, Any]) -> None:
    raise _Return(None if node.value is None else _evaluate(node.value, values))


def _tail_return(node: tree.TailReturn, values: dict[str, Any]) -> None:
    call = node.call
    function = call.function if isinstance(call, tree.Call) else _function_at(_evaluate(call.pointer, values))
    raise _TailCall(function, [_evaluate(argument, values) for argument in call.arguments])


def _raise_fault(node: tree.RaiseFault, values: dict[str, Any]) -> None:
    raise Fault


def _evaluate_statement(node: tree.Evaluate, values: dict[str, Any]) -> None:
    _evaluate(node.value, values)


def _evaluate(node: tree.Expression, values: dict[str, Any]) -> Any:
    return _EXPRESSIONS[type(node)](node, values)


def _constant(node: tree.Constant, values: dict[str, Any]) -> Any:
    return Pointer(node.type, 0) if isinstance(node.type, PointerType) else node.value


def _local(node: tree.Local, values: dict[str, Any]) -> Any:
    return values[node.name]


def _binary(node: tree.Binary, values: dict[str, Any]) -> Any:
    left, right, kind = _evaluate(node.left, values), _evaluate(node.right, values), node.type
    if isinstance(kind, FloatType):
        return _FLOAT[node.operator](kind, left, right)
    if node.operator in ("shl", "shr"):
        right %= kind.bits
        return kind.wrap(left << right if node.operator == "shl" else left >> right)
    if node.operator in ("floordiv", "mod"):
        if right == 0:
            return kind.wrap(-1) if node.operator == "floordiv" else left
        return kind.wrap(left // right if node.operator == "floordiv" else left % right)
    result = _PLAIN[node.operator](left, right)
    return bool(result) if kind is boolean else kind.wrap(result)


def _unary(node: tree.Unary, values: dict[str, Any]) -> Any:
    operand = _evaluate(node.operand, values)
    if node.operator == "not":
        return not operand
    if isinstance(node.type, FloatType):
        return from_bits(node.type, bits_of(node.type, operand) ^ 1 << (node.type.bits - 1))
    return node.type.wrap(-operand if node.operator == "neg" else ~operand)


def _compare(node: tree.Compare, values: dict[str, Any]) -> Any:
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    if isinstance(left, Pointer):
        left, right = left.address, right.address
    test = _COMPARE[node.operator]
    return float_twin.compare(node.left.type, test, left, right) if isinstance(node.left.type, FloatType) else test(left, right)


def _logic(node: tree.Logic, values: dict[str, Any]) -> Any:
    left = _evaluate(node.left, values)
    if left == (node.operator == "or"):
        return left
    return _evaluate(node.right, values)


def _select(node: tree.Select, values: dict[str, Any]) -> Any:
    return _evaluate(node.then if _evaluate(node.condition, values) else node.other, values)


def _convert(node: tree.Convert, values: dict[str, Any]) -> Any:
    operand = _evaluate(node.operand, values)
    if isinstance(node.type, PointerType):
        return Pointer(node.type, address_from(operand))
    if isinstance(operand, Pointer):
        return operand.address
    if isinstance(node.type, FunctionType):
        return operand
    return convert_number(operand, node.operand.type, node.type)


def convert_number(value: Any, source: Any, to: Any) -> Any:
    """Between integers and floats."""
    if isinstance(to, FloatType):
        if isinstance(source, FloatType):
            return float_twin.to_format(to, source, value)
        return float_twin.from_integer(to, int(value))
    if isinstance(source, FloatType):
        return float_twin.compare(source, operator.ne, value, 0.0) if to is boolean else float_twin.to_integer(to, source, value)
    return to(value)


def _load(node: tree.Load, values: dict[str, Any]) -> Any:
    pointer = _evaluate(node.pointer, values)
    return load_from(node.type, pointer.address)


def _offset(node: tree.Offset, values: dict[str, Any]) -> Any:
    pointer = _evaluate(node.pointer, values)
    return pointer + _evaluate(node.index, values)


def _field_address(node: tree.FieldAddress, values: dict[str, Any]) -> Any:
    return Pointer(node.type, _evaluate(node.pointer, values).address + node.field.offset)


def _call(node: tree.Call, values: dict[str, Any]) -> Any:
    arguments = [_evaluate(argument, values) for argument in node.arguments]
    if not node.attempted:
        return run_twin(node.function, arguments)
    try:
        run_twin(node.function, arguments)
    except Fault:
        return False
    return True


def _pointer_call(node: tree.PointerCall, values: dict[str, Any]) -> Any:
    function = _function_at(_evaluate(node.pointer, values))
    return run_twin(function, [_evaluate(argument, values) for argument in node.arguments])


def _intrinsic(node: tree.IntrinsicCall, values: dict[str, Any]) -> Any:
    operands = [_evaluate(argument, values) for argument in node.arguments]
    return node.intrinsic.twin([argument.type for argument in node.arguments], node.type_argument, operands)


def _function_address(node: tree.FunctionAddress, values: dict[str, Any]) -> Any:
    return function_token(node.function)


_STATEMENTS: dict[type, Any] = {
    tree.Assign: _assign, tree.Store: _store, tree.Evaluate: _evaluate_statement, tree.If: _if, tree.While: _while, tree.For: _for,
    tree.Break: _break, tree.Continue: _continue, tree.Return: _return, tree.TailReturn: _tail_return, tree.RaiseFault: _raise_fault,
}  # fmt: skip
_EXPRESSIONS: dict[type, Any] = {
    tree.Constant: _constant, tree.Local: _local, tree.Binary: _binary, tree.Unary: _unary, tree.Compare: _compare, tree.Logic: _logic,
    tree.Select: _select, tree.Convert: _convert, tree.Load: _load, tree.Offset: _offset, tree.FieldAddress: _field_address,
    tree.Call: _call, tree.PointerCall: _pointer_call, tree.IntrinsicCall: _intrinsic, tree.FunctionAddress: _function_address,
}  # fmt: skip
