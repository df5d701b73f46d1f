"""A whole LLVM module: the functions asked for with C entry points, all they reach, and tables of code addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gasang.native import tree
from gasang.native.emit_function import ATTRIBUTES, FunctionEmitter
from gasang.native.foreign import DECLARATION, SYSTEM_CALL
from gasang.native.symbols import CONVENTIONS, ModuleNames, entry_symbol, parameter_name, parameters_text, result_type, table_symbol
from gasang.native.types import FloatType, IntType, Type

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction


def reachable(roots: Iterable[NativeFunction]) -> list[NativeFunction]:
    """Every function the roots call, the roots included, in a stable order."""
    found: dict[int, NativeFunction] = {}
    pending = list(roots)[::-1]
    while pending:
        function = pending.pop()
        if id(function) not in found:
            found[id(function)] = function
            pending.extend(reversed(function.tree.callees))
    return list(found.values())


class ModuleEmitter:
    """One LLVM module."""

    def __init__(self, roots: list[NativeFunction], tables: dict[str, list[NativeFunction]] | None = None) -> None:
        self.roots = roots
        self.tables = tables or {}
        self.functions = reachable([*roots, *(function for table in self.tables.values() for function in table)])
        self.names = ModuleNames(self.functions)
        self.floating = self._find_floating()

    def _find_floating(self) -> set[int]:
        """Functions that do floating point or call one that does: LLVM wants all of them marked."""
        floating = {id(function) for function in self.functions if uses_floats(function.tree)}
        changed = True
        while changed:
            before = len(floating)
            for function in self.functions:
                if any(id(callee) in floating for callee in function.tree.callees):
                    floating.add(id(function))
            changed = len(floating) != before
        return floating

    def emit(self) -> str:
        """The module's text."""
        parts = [FunctionEmitter(self.names, function, id(function) in self.floating).emit() for function in self.functions]
        parts += [self._entry(index, root) for index, root in enumerate(self.roots)]
        for name, functions in self.tables.items():
            cells = ", ".join(f"ptr {self.names.symbol(function)}" for function in functions)
            parts.append(f'@"{table_symbol(name)}" = constant [{len(functions)} x ptr] [{cells}]\n')
        if any(SYSTEM_CALL in part for part in parts):
            parts.append(DECLARATION)
        return "\n".join(parts)

    def _entry(self, index: int, root: NativeFunction) -> str:
        """A C-callable function: results of faulting functions go through a pointer, the fault is the result."""
        parameters = [f"{kind.llvm}{_extension(kind)} {parameter_name(name)}" for name, kind in root.parameters]
        strict = " strictfp" if id(root) in self.floating else ""
        kind = result_type(root)
        call = f"call {CONVENTIONS[root.convention]}{kind} {self.names.symbol(root)}({parameters_text(root.parameters)}){strict}"
        extension = " zeroext" if kind == "i1" else _extension(root.result)
        if root.may_fault and root.result is not None:
            value = root.result.llvm
            parameters.insert(0, "ptr %out")
            extension, result = " zeroext", "i1"
            body = (
                f"  %pair = {call}\n  %value = extractvalue {kind} %pair, 0\n  %bad = extractvalue {kind} %pair, 1\n"
                f"  store {value} %value, ptr %out\n  ret i1 %bad"
            )
        else:
            result = kind
            body = f"  {call}\n  ret void" if kind == "void" else f"  %r = {call}\n  ret {kind} %r"
        head = f"define{extension} {result} @{entry_symbol(index)}({', '.join(parameters)}) {ATTRIBUTES}{strict}"
        return f"{head} {{\n{body}\n}}\n"


def _extension(kind: Type | None) -> str:
    if isinstance(kind, IntType) and kind.bits < 64:
        return " signext" if kind.signed else " zeroext"
    return ""


def uses_floats(function: tree.TypedFunction) -> bool:
    """Whether any local, parameter or operation is a float, or the control word is touched."""
    kinds: list[Any] = [*function.local_types.values(), function.result]
    if any(isinstance(kind, FloatType) for kind in kinds):
        return True
    return _mentions_floats(function.body)


def _mentions_floats(node: Any) -> bool:
    if isinstance(node, list):
        return any(_mentions_floats(part) for part in node)
    if isinstance(node, tree.IntrinsicCall) and node.intrinsic.name in ("float_flags", "set_float_control"):
        return True
    if isinstance(node, tree.Expression) and isinstance(node.type, FloatType):
        return True
    if isinstance(node, (tree.Expression, tree.Statement)):
        return any(_mentions_floats(part) for part in vars(node).values() if isinstance(part, (list, tree.Expression, tree.Statement)))
    return False
