"""`@native`: a function of typed Python, checked when first used, compiled when first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gasang.native.border import border_of, callable_at, check_count
from gasang.native.errors import NativeError
from gasang.native.layout import function_type
from gasang.native.symbols import CONVENTIONS
from gasang.native.types import FunctionType, IntType, Type

if TYPE_CHECKING:
    import ast

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
        features: str = "",
        section: str = "",
        elsewhere: bool = False,
    ) -> None:
        self._definition = definition
        self._namespace = namespace
        self.file = file
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
        self.features = features
        self.section = section
        self.elsewhere = elsewhere
        self._signature: tuple[list[tuple[str, Type]], Type | None] | None = None
        self._tree: TypedFunction | None = None
        self._entry: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<native function {self.name}>"

    @property
    def definition(self) -> ast.FunctionDef:
        """The function's syntax tree, with the line numbers of its file."""
        if self._definition is None:
            from gasang.native.source import definition_of

            assert self._function is not None
            self._definition = definition_of(self._function, self.file)
        return self._definition

    @property
    def namespace(self) -> dict[str, Any]:
        """What the function's free names mean."""
        if self._function is None:
            return self._namespace
        from gasang.native.source import names_outside

        return names_outside(self._function)

    @property
    def signature(self) -> tuple[list[tuple[str, Type]], Type | None]:
        """Parameters with their types, and the result's type (None for nothing)."""
        if self._signature is None:
            self._signature = self._read_signature()
        return self._signature

    def _read_signature(self) -> tuple[list[tuple[str, Type]], Type | None]:
        import ast

        from gasang.native.checker import Checker

        definition = self.definition
        arguments = definition.args
        if arguments.vararg or arguments.kwonlyargs or arguments.kwarg or arguments.defaults or arguments.posonlyargs:
            raise NativeError(self.file, definition.lineno, f"{self.name}: native functions take positional parameters without defaults")
        reader = Checker(definition, self.namespace, self.file, ([], None), self.may_fault, self.convention)
        parameters: list[tuple[str, Type]] = []
        for argument in arguments.args:
            if argument.annotation is None:
                raise NativeError(self.file, argument.lineno, f"{self.name}: parameter {argument.arg} has no type")
            parameters.append((argument.arg, reader.value_type_of(argument.annotation)))
        returns = definition.returns
        if returns is None:
            raise NativeError(self.file, definition.lineno, f"{self.name}: write -> and the type returned, or None")
        nothing = isinstance(returns, ast.Constant) and returns.value is None
        return parameters, None if nothing else reader.value_type_of(returns)

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

            self._tree = Checker(self.definition, self.namespace, self.file, self.signature, self.may_fault, self.convention).check()
        return self._tree

    @property
    def source(self) -> str:
        """The text that decides what the function does, for the cache's key."""
        import ast

        return ast.dump(self.definition)

    def check_border(self) -> None:
        """Raise NativeError unless Python can call this function's compiled code."""
        for kind in [*(kind for _, kind in self.parameters), self.result]:
            if isinstance(kind, IntType) and kind.bits > 64:
                raise NativeError(
                    self.file, self.definition.lineno, f"{self.__name__}: {kind} cannot cross the border to Python: pass ptr[{kind}]"
                )

    def _link(self) -> int:
        from gasang.native.build import build

        self.check_border()
        return build([self]).entries[0]

    def python(self, *arguments: Any) -> Any:
        """Run the same text as plain Python. Raises Fault where it faults."""
        from gasang.native.memory import Pointer
        from gasang.native.twin import import_value, run_twin

        check_count(self.__name__, len(self.parameters), len(arguments))
        result = run_twin(self, [import_value(kind, argument) for (_, kind), argument in zip(self.parameters, arguments, strict=True)])
        return result.address if isinstance(result, Pointer) else result

    def __call__(self, *arguments: Any) -> Any:
        """Run compiled; the GIL is released meanwhile. Raises Fault where it faults."""
        if self._entry is None:
            self._entry = python_entry(self, self._link())
        return self._entry(*arguments)


def python_entry(function: NativeFunction, address: int) -> Callable[..., Any]:
    """A Python callable for compiled code at `address` (an entry of `build`).

    Raises NativeError where a parameter or the result is a number of 128 bits: those cannot cross the border to Python.
    """
    return callable_at(border_of(function), address)


def native(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Mark a function as native, with options.

    They are may_fault, inline, convention ("c", "preserve_none", "preserve_most"), features, external_name, section and elsewhere.
    `features` are instructions beyond the level that everything is made for, as LLVM names them ("+avx512vl"): whoever calls such a
    function has looked whether the processor has them. `external_name` is the function's symbol in an object, `section` the section that it
    has there; what is `elsewhere` is called by its name and not part of the object: whoever links that says where it is.
    """
    if function is None:
        return lambda marked: native(marked, **options)
    file = function.__code__.co_filename
    convention = options.get("convention", "c")
    if convention not in CONVENTIONS:
        rule = f"no calling convention {convention!r}: there are {', '.join(CONVENTIONS)}"
        raise NativeError(file, function.__code__.co_firstlineno, rule)
    return NativeFunction(None, {}, file, function, name=function.__name__, **options)


def native_from_source(text: str, namespace: dict[str, Any], *, file: str = "<generated>", **options: Any) -> NativeFunction:
    """A native function from the text of one `def`, its free names taken from `namespace`."""
    from gasang.native.source import definition_in

    definition = definition_in(text, file)
    return NativeFunction(definition, namespace, file, name=definition.name, **options)
