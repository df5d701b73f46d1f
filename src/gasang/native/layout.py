"""Declarations of types: structs laid out as C would, arrays inside them, pointers to code.

They are checked where they stand: a wrong one raises NativeError with its file and line.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from gasang.native.errors import NativeError
from gasang.native.symbols import CONVENTIONS
from gasang.native.types import ArrayType, Field, FunctionType, StructType, Type


class _Length:
    def __init__(self, count: int) -> None:
        self.count = count


def length(count: int) -> Any:
    """How many elements an array field has, written as its default."""
    return _Length(count)


def function_type(parameters: list[Any], result: Any = None, convention: str = "c") -> FunctionType:
    """The type of a pointer to native code. Raises NativeError for what is no type of a value."""
    if convention not in CONVENTIONS:
        raise _refusal(sys._getframe(1), f"no calling convention {convention!r}: there are {', '.join(CONVENTIONS)}")
    for kind in [*parameters, *([] if result is None else [result])]:
        if not is_value_type(kind):
            raise _refusal(sys._getframe(1), f"{kind!r} is no type that a parameter or result can have")
    text = ", ".join(parameter.name for parameter in parameters)
    return FunctionType(f"function[[{text}], {result}]", tuple(parameters), result, convention)


def is_value_type(kind: Any) -> bool:
    """Whether a variable can be of this type: numbers and pointers can."""
    return isinstance(kind, Type) and not isinstance(kind, (StructType, ArrayType))


def struct(declaration: type) -> Any:
    """Lay out a class of annotations as a StructType. Raises NativeError for a field that cannot be laid out."""
    frame = sys._getframe(1)
    made = StructType(declaration.__name__, (), 0, 1)
    namespace = {**frame.f_globals, **frame.f_locals, **vars(declaration), declaration.__name__: made}
    fields: list[Field] = []
    offset, alignment = 0, 1
    for name, annotation in vars(declaration).get("__annotations__", {}).items():
        kind = _field_type(frame, f"{declaration.__name__}.{name}", annotation, namespace, vars(declaration).get(name))
        if kind is made:
            raise _refusal(frame, f"{declaration.__name__}.{name}: a struct cannot hold itself: use ptr[{declaration.__name__}]")
        offset = -(-offset // kind.alignment) * kind.alignment
        fields.append(Field(name, kind, offset))
        offset += kind.size
        alignment = max(alignment, kind.alignment)
    if not fields:
        raise _refusal(frame, f"{declaration.__name__}: a struct has at least one field")
    made.lay_out(tuple(fields), -(-offset // alignment) * alignment, alignment)
    return made


def _field_type(frame: FrameType, subject: str, annotation: Any, namespace: dict[str, Any], default: Any) -> Type:
    try:
        kind = eval(annotation, namespace) if isinstance(annotation, str) else annotation  # noqa: S307 - the program's own source
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise _refusal(frame, f"{subject}: {annotation} is no native type: {error}") from error
    if not isinstance(kind, Type):
        raise _refusal(frame, f"{subject}: {annotation!r} is no native type")
    if not isinstance(kind, ArrayType):
        if default is not None:
            raise _refusal(frame, f"{subject}: a field has no default")
        return kind
    if not isinstance(default, _Length) or not isinstance(default.count, int) or default.count < 1:
        raise _refusal(frame, f"{subject}: an array needs = length(n), n at least 1")
    if not isinstance(kind.element, Type) or isinstance(kind.element, ArrayType):
        raise _refusal(frame, f"{subject}: an array is of numbers, pointers or structs")
    if kind.element.size == 0:
        raise _refusal(frame, f"{subject}: a struct cannot hold itself: use array[ptr[{kind.element}]]")
    count = default.count
    return ArrayType(f"{kind.name}*{count}", kind.element.size * count, kind.element.alignment, "", kind.element, count)


def _refusal(frame: FrameType, rule: str) -> NativeError:
    return NativeError(frame.f_code.co_filename, frame.f_lineno, rule)
