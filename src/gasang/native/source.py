"""The syntax trees of native functions, from their files or from text."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from gasang.native.errors import NativeError


def definition_of(function: Callable[..., Any], file: str) -> ast.FunctionDef:
    """A function's syntax tree, with the line numbers of its file. Raises NativeError if it is no plain def."""
    lines, first = inspect.getsourcelines(function)
    indented = lines[0][:1].isspace()  # textwrap.dedent would stumble over a comment or text at the left edge
    module = ast.parse("".join(["if True:\n", *lines] if indented else lines))
    ast.increment_lineno(module, first - 1 - indented)
    outer = module.body[0]
    node = outer.body[0] if indented and isinstance(outer, ast.If) else outer
    if not isinstance(node, ast.FunctionDef):
        raise NativeError(file, first, f"{function.__name__} is no plain def")
    return node


def definition_in(text: str, file: str) -> ast.FunctionDef:
    """The syntax tree of a text that is one `def`. Raises NativeError if it is not."""
    try:
        body = ast.parse(textwrap.dedent(text), file).body
    except SyntaxError as error:
        raise NativeError(file, error.lineno or 1, f"no Python: {error.msg}") from error
    definition = body[0] if body else None
    if len(body) != 1 or not isinstance(definition, ast.FunctionDef):
        raise NativeError(file, 1, "the text of one def is needed")
    return definition


def names_outside(function: Callable[..., Any]) -> dict[str, Any]:
    """What the free names of a function mean."""
    closure = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
    return {**function.__globals__, **closure}
