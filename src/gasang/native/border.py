"""How Python calls compiled code: types at the border as words, to be kept beside the code, and the callables made of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gasang.native.errors import Fault
from gasang.native.memory import address_from

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction
    from gasang.native.types import Type

ADDRESS, NOTHING = "address", "nothing"
_CTYPES: dict[str, Any] = {
    ADDRESS: ctypes.c_uint64, "function": ctypes.c_uint64, "u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64, "i8": ctypes.c_int8, "i16": ctypes.c_int16, "i32": ctypes.c_int32, "i64": ctypes.c_int64,
    "f32": ctypes.c_float, "f64": ctypes.c_double, "boolean": ctypes.c_bool, NOTHING: None,
}  # fmt: skip
_ENDINGS = ("returns", "faults")


class Border(NamedTuple):
    """A function as its callers see it. Types are the words of a table here; ADDRESS is a pointer to anything."""

    name: str
    parameters: tuple[str, ...]
    result: str
    may_fault: bool

    def line(self) -> str:
        """As a line of text."""
        return " ".join([self.name, self.result, _ENDINGS[self.may_fault], *self.parameters])


def border_from(line: str) -> Border:
    """What `Border.line` wrote. Raises ValueError for anything else."""
    name, result, ending, *parameters = line.split(" ")
    if not {result, *parameters} <= _CTYPES.keys() or ending not in _ENDINGS:
        raise ValueError(f"no types: {line}")
    return Border(name, tuple(parameters), result, ending == _ENDINGS[True])


def border_of(function: NativeFunction) -> Border:
    """A native function's. Raises NativeError where a number of 128 bits would have to cross."""
    function.check_border()
    result = NOTHING if function.result is None else _word(function.result)
    return Border(function.__name__, tuple(_word(kind) for _, kind in function.parameters), result, function.may_fault)


def _word(kind: Type) -> str:
    from gasang.native.types import FunctionType, PointerType

    if isinstance(kind, PointerType):
        return ADDRESS
    return "function" if isinstance(kind, FunctionType) else kind.name


def check_count(name: str, wanted: int, given: int) -> None:
    """Raise TypeError unless the number of arguments is right."""
    if wanted != given:
        raise TypeError(f"{name} takes {wanted} argument{'' if wanted == 1 else 's'}, {given} given")


def callable_at(border: Border, address: int) -> Callable[..., Any]:
    """A Python callable for the compiled code at `address`. It raises Fault where the code faults."""
    wanted = len(border.parameters)
    ctypes_in = [_CTYPES[word] for word in border.parameters]
    pointers = [index for index, word in enumerate(border.parameters) if word == ADDRESS]
    slot_type = _CTYPES[border.result]
    may_fault = border.may_fault
    if may_fault:
        raw = ctypes.CFUNCTYPE(ctypes.c_bool, *([] if slot_type is None else [ctypes.c_void_p]), *ctypes_in)(address)
    else:
        raw = ctypes.CFUNCTYPE(slot_type, *ctypes_in)(address)

    def call(*arguments: Any) -> Any:
        if len(arguments) != wanted:
            check_count(border.name, wanted, len(arguments))
        values: list[Any] = list(arguments)
        for index in pointers:
            values[index] = address_from(values[index])
        if not may_fault:
            return raw(*values)
        if slot_type is None:
            if raw(*values):
                raise Fault
            return None
        slot = slot_type()
        if raw(ctypes.addressof(slot), *values):
            raise Fault
        return slot.value

    return call
