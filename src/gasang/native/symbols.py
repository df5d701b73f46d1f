"""What things are called inside an LLVM module, and how functions are called there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gasang.native.function import NativeFunction
    from gasang.native.types import Type

CONVENTIONS = {"c": "", "preserve_none": "preserve_nonecc ", "preserve_most": "preserve_mostcc "}


def entry_symbol(index: int) -> str:
    """The C-callable entry of a root."""
    return f"entry{index}"


def table_symbol(name: str) -> str:
    """A table of code addresses."""
    return f"table.{name}"


def local_name(name: str) -> str:
    """The stack slot of a local variable; quoted, because Python's names are not LLVM's."""
    return f'%"v.{name}"'


def parameters_text(parameters: list[tuple[str, Type]]) -> str:
    """Parameters with their types, for a definition or a call that hands them on."""
    return ", ".join(f"{kind.llvm} {parameter_name(name)}" for name, kind in parameters)


def parameter_name(name: str) -> str:
    """A parameter."""
    return f'%"p.{name}"'


def result_type(function: NativeFunction) -> str:
    """What the LLVM function returns: `T`, or `{T, i1}` (`i1` for no T) where it may fault; the i1 says that it did."""
    plain = "void" if function.result is None else function.result.llvm
    if not function.may_fault:
        return plain
    return "i1" if function.result is None else f"{{ {plain}, i1 }}"


class ModuleNames:
    """A symbol for each function of a module."""

    def __init__(self, functions: Iterable[NativeFunction]) -> None:
        self._names: dict[int, str] = {}
        taken: set[str] = set()
        for function in functions:
            # The bare name could be one that LLVM takes for the C library's (`fma`, `memset`, `strlen`) or an entry's.
            plain = function.external_name or f"native.{function.name}"
            name, count = plain, 1
            while name in taken:
                count += 1
                name = f"{plain}.{count}"
            taken.add(name)
            self._names[id(function)] = name

    def symbol(self, function: NativeFunction) -> str:
        """The function's symbol."""
        return f'@"{self._names[id(function)]}"'
