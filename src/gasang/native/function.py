"""`@native`: a function of typed Python, checked when first used, compiled when first called."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gasang.native.errors import Fault, NativeError
from gasang.native.types import FunctionType, PointerType, Type, ctype_of, function_type

if TYPE_CHECKING:
    from gasang.native.tree import TypedFunction


class NativeFunction:
    """A native function: callable from Python, from other native functions, and as plain Python through `.python`."""

    def __init__(
        self,
        definition: ast.FunctionDef | None,
        namespace: dict[str, Any],
        file: str,
        function: Callable[..., Any] | None = None,
        *,
        name: str,
        may_fault: bool = False,
        inline: bool | None = None,
        convention: str = "c",
        external_name: str = "",
    ) -> None:
        self._definition = definition
        self._namespace = namespace
        self._file = file
        self._function = function
        self.name = external_name or name
        self.__name__ = name
        self.__doc__ = function.__doc__ if function else None
        self.__module__ = function.__module__ if function else ""
        if function is not None:
            self.__wrapped__ = function
        self.may_fault = may_fault
        self.inline = inline
        self.convention = convention
        self.external_name = external_name
        self._signature: tuple[list[tuple[str, Type]], Type | None] | None = None
        self._tree: TypedFunction | None = None
        self._entry: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<native function {self.name}>"

    @property
    def definition(self) -> ast.FunctionDef:
        """The function's syntax tree, with the line numbers of its file."""
        if self._definition is None:
            assert self._function is not None
            lines, first = inspect.getsourcelines(self._function)
            module = ast.parse(textwrap.dedent("".join(lines)))
            ast.increment_lineno(module, first - 1)
            node = module.body[0]
            assert isinstance(node, ast.FunctionDef)
            self._definition = node
        return self._definition

    @property
    def namespace(self) -> dict[str, Any]:
        """What the function's free names mean."""
        if self._function is None:
            return self._namespace
        closure = inspect.getclosurevars(self._function).nonlocals if self._function.__closure__ else {}
        return {**self._function.__globals__, **closure}

    @property
    def signature(self) -> tuple[list[tuple[str, Type]], Type | None]:
        """Parameters with their types, and the result's type (None for nothing)."""
        if self._signature is None:
            self._signature = self._read_signature()
        return self._signature

    def _read_signature(self) -> tuple[list[tuple[str, Type]], Type | None]:
        from gasang.native.checker import Checker

        definition = self.definition
        arguments = definition.args
        if arguments.vararg or arguments.kwonlyargs or arguments.kwarg or arguments.defaults:
            raise NativeError(self._file, definition.lineno, f"{self.name}: native functions take positional parameters without defaults")
        reader = Checker(definition, self.namespace, self._file, ([], None), self.may_fault)
        parameters: list[tuple[str, Type]] = []
        for argument in arguments.args:
            if argument.annotation is None:
                raise NativeError(self._file, argument.lineno, f"{self.name}: parameter {argument.arg} has no type")
            parameters.append((argument.arg, reader.type_of(argument.annotation)))
        returns = definition.returns
        if returns is None:
            raise NativeError(self._file, definition.lineno, f"{self.name}: write -> and the type returned, or None")
        nothing = isinstance(returns, ast.Constant) and returns.value is None
        return parameters, None if nothing else reader.type_of(returns)

    @property
    def parameters(self) -> list[tuple[str, Type]]:
        """Parameter names and types."""
        return self.signature[0]

    @property
    def result(self) -> Type | None:
        """The result's type, or None."""
        return self.signature[1]

    @property
    def pointer_type(self) -> FunctionType:
        """The type of a pointer to this function."""
        return function_type([kind for _, kind in self.parameters], self.result, self.convention)

    @property
    def tree(self) -> TypedFunction:
        """The checked function. Raises NativeError where a rule is broken."""
        if self._tree is None:
            from gasang.native.checker import Checker

            self._tree = Checker(self.definition, self.namespace, self._file, self.signature, self.may_fault).check()
        return self._tree

    @property
    def source(self) -> str:
        """The text that decides what the function does, for the cache's key."""
        return ast.dump(self.definition)

    def python(self, *arguments: Any) -> Any:
        """Run the same text as plain Python. Raises Fault where it faults."""
        from gasang.native.memory import Pointer
        from gasang.native.twin import run_twin

        result = run_twin(self, arguments)
        return result.address if isinstance(result, Pointer) else result

    def __call__(self, *arguments: Any) -> Any:
        """Run compiled; the GIL is released meanwhile. Raises Fault where it faults."""
        if self._entry is None:
            from gasang.native.build import build

            self._entry = python_entry(self, build([self]).entries[0])
        return self._entry(*arguments)


def python_entry(function: NativeFunction, address: int) -> Callable[..., Any]:
    """A Python callable for compiled code at `address` (made by ModuleEmitter's entry)."""
    import ctypes

    from gasang.native.memory import address_from

    kinds = [kind for _, kind in function.parameters]
    ctypes_in = [ctype_of(kind) for kind in kinds]
    pointers = [index for index, kind in enumerate(kinds) if isinstance(kind, PointerType)]
    result = function.result
    if function.may_fault:
        slot_type = None if result is None else ctype_of(result)
        raw = ctypes.CFUNCTYPE(ctypes.c_bool, *([] if slot_type is None else [ctypes.c_void_p]), *ctypes_in)(address)
    else:
        slot_type = None
        raw = ctypes.CFUNCTYPE(None if result is None else ctype_of(result), *ctypes_in)(address)

    def call(*arguments: Any) -> Any:
        values = list(arguments)
        for index in pointers:
            values[index] = address_from(values[index])
        if not function.may_fault:
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


def native(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Mark a function as native. Options: may_fault, inline, convention ("c" or "preserve_none")."""
    if function is None:
        return lambda marked: native(marked, **options)
    file = function.__code__.co_filename
    return NativeFunction(None, {}, file, function, name=function.__name__, **options)


def native_from_source(text: str, namespace: dict[str, Any], *, file: str = "<generated>", **options: Any) -> NativeFunction:
    """A native function from the text of one `def`, its free names taken from `namespace`."""
    definition = ast.parse(textwrap.dedent(text)).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return NativeFunction(definition, namespace, file, name=definition.name, **options)
