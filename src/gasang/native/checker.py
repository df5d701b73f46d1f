"""From a function's syntax to the typed tree: every rule of docs/reference/native.md is checked here, once, for both back ends.

This file has the statements; expressions, calls and names are in the files it builds on.
"""

from __future__ import annotations

import ast
from typing import Any

from gasang.native import tree
from gasang.native.assignment import first_unassigned
from gasang.native.check_calls import CallChecker
from gasang.native.errors import Fault
from gasang.native.scope import MISSING
from gasang.native.types import IntType, Type, boolean, null_type, u64

Signature = tuple[list[tuple[str, Type]], Type | None]


class Checker(CallChecker):
    """Checks one function."""

    def __init__(
        self, definition: ast.FunctionDef, namespace: dict[str, Any], file: str, signature: Signature, may_fault: bool, convention: str
    ) -> None:
        parameters, result = signature
        super().__init__(definition, namespace, file, tree.TypedFunction(definition.name, parameters, result, [], dict(parameters)))
        self.may_fault = may_fault
        self.convention = convention
        self.loops = 0

    def check(self) -> tree.TypedFunction:
        """The typed tree. Raises NativeError where a rule is broken."""
        function = self.function
        function.body = self.statements(self.definition.body)
        if function.result is not None and not tree.ends(function.body):
            raise self.refusal(self.definition, "a path through the function returns nothing")
        unassigned = first_unassigned(function)
        if unassigned is not None:
            line, name = unassigned
            raise self.refusal(ast.Pass(lineno=line), f"{name} may have no value here: assign it on every path")
        return function

    def statements(self, nodes: list[ast.stmt]) -> list[tree.Statement]:
        """Typed statements."""
        made: list[tree.Statement] = []
        for node in nodes:
            handler = getattr(self, "statement_" + type(node).__name__, None)
            if handler is None:
                raise self.refusal(node, f"{type(node).__name__} is no native statement")
            made += handler(node)
        return made

    def statement_Pass(self, node: ast.Pass) -> list[tree.Statement]:  # noqa: N802 - named after the node
        return []

    # ------------------------------------------------------------------ assignment

    def statement_AnnAssign(self, node: ast.AnnAssign) -> list[tree.Statement]:  # noqa: N802
        if not isinstance(node.target, ast.Name):
            raise self.refusal(node, "only a local variable can be annotated")
        kind = self.value_type_of(node.annotation)
        if node.value is None:
            raise self.refusal(node, "a local needs a value")
        return [self.assign_local(node, node.target.id, self.expression(node.value, kind), kind)]

    def statement_Assign(self, node: ast.Assign) -> list[tree.Statement]:  # noqa: N802
        if len(node.targets) != 1:
            raise self.refusal(node, "one target an assignment")
        target = node.targets[0]
        if isinstance(target, ast.Name):
            value = self.expression(node.value, self.function.local_types.get(target.id))
            return [self.assign_local(node, target.id, value, self.function.local_types.get(target.id, value.type))]
        place = self.place(target)
        return [tree.Store(node.lineno, place, self.expected(node, self.expression(node.value, place.type.target), place.type.target))]

    def statement_AugAssign(self, node: ast.AugAssign) -> list[tree.Statement]:  # noqa: N802
        symbol = self.operator(node, node.op)
        if isinstance(node.target, ast.Name):
            left = self.expression_Name(node.target, None)
            value = self.binary(node, symbol, left, node.value)
            return [self.assign_local(node, node.target.id, value, left.type)]
        place = self.place(node.target)
        value = self.binary(node, symbol, tree.Load(place.type.target, place), node.value)
        if not (tree.calls(place) or tree.calls(value)):
            return [tree.Store(node.lineno, place, value)]
        # As in Python the place is found once, before the right side is computed.
        name = f"place {len(self.function.local_types)}"
        self.function.local_types[name] = place.type
        kept = tree.Local(place.type, name)
        value = self.binary(node, symbol, tree.Load(place.type.target, kept), node.value)
        return [tree.Assign(node.lineno, name, place), tree.Store(node.lineno, kept, value)]

    def assign_local(self, node: ast.stmt, name: str, value: tree.Expression, kind: Type) -> tree.Statement:
        """An assignment to a local, whose type the first one decides."""
        if kind == null_type:
            raise self.refusal(node, f"{name} = null says not what {name} points to: annotate it")
        known = self.function.local_types.setdefault(name, kind)
        if known != kind:
            raise self.refusal(node, f"{name} is {known}, not {kind}: one name, one type")
        return tree.Assign(node.lineno, name, self.expected(node, value, kind))

    # ------------------------------------------------------------------ control flow

    def statement_If(self, node: ast.If) -> list[tree.Statement]:  # noqa: N802
        return [tree.If(node.lineno, self.condition(node.test), self.statements(node.body), self.statements(node.orelse))]

    def statement_While(self, node: ast.While) -> list[tree.Statement]:  # noqa: N802
        if node.orelse:
            raise self.refusal(node, "while has no else")
        return [tree.While(node.lineno, self.condition(node.test), self.loop_body(node.body))]

    def loop_body(self, nodes: list[ast.stmt]) -> list[tree.Statement]:
        """Statements in which break and continue mean this loop."""
        self.loops += 1
        body = self.statements(nodes)
        self.loops -= 1
        return body

    def statement_For(self, node: ast.For) -> list[tree.Statement]:  # noqa: N802
        call, target = node.iter, node.target
        is_range = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range" and not call.keywords
        if node.orelse or not is_range or not isinstance(target, ast.Name):
            raise self.refusal(node, "write: for NAME in range(…)")
        assert isinstance(call, ast.Call)
        if not 1 <= len(call.args) <= 3:
            raise self.refusal(node, f"range takes 1 to 3 arguments, {len(call.args)} given")
        step = self.constant(call.args[2]) if len(call.args) == 3 else 1
        if not isinstance(step, int) or isinstance(step, bool) or step == 0:
            raise self.refusal(node, "the step of a range is an integer literal other than 0")
        bounds = call.args[:2] if len(call.args) > 1 else [ast.copy_location(ast.Constant(0), call), call.args[0]]
        kind = self.range_type(node, target.id, bounds)
        start, stop = (self.expected(part, self.expression(part, kind), kind) for part in bounds)
        self.function.local_types[target.id] = kind
        return [tree.For(node.lineno, target.id, start, stop, step, self.loop_body(node.body))]

    def range_type(self, node: ast.For, name: str, bounds: list[ast.expr]) -> IntType:
        """The counter's type: what it is already, else that of the first bound that is no literal, else u64."""
        kind = self.function.local_types.get(name)
        if kind is None:
            typed = next((bound for bound in bounds if self.constant(bound) is MISSING), None)
            kind = u64 if typed is None else self.expression(typed, None).type
        if not isinstance(kind, IntType) or kind is boolean:
            raise self.refusal(node, f"a range is of integers, not {kind}")
        return kind

    def statement_Break(self, node: ast.Break) -> list[tree.Statement]:  # noqa: N802
        return [tree.Break(self.inside_loop(node, "break"))]

    def statement_Continue(self, node: ast.Continue) -> list[tree.Statement]:  # noqa: N802
        return [tree.Continue(self.inside_loop(node, "continue"))]

    def inside_loop(self, node: ast.stmt, word: str) -> int:
        """The line, if it is in a loop."""
        if not self.loops:
            raise self.refusal(node, f"{word} outside a loop")
        return node.lineno

    def statement_Return(self, node: ast.Return) -> list[tree.Statement]:  # noqa: N802
        result = self.function.result
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            if result is not None:
                raise self.refusal(node, f"the function returns {result}")
            return [tree.Return(node.lineno, None)]
        if isinstance(node.value, ast.Call) and self.meaning(node.value.func) == "tail_call":
            return [self.tail_return(node, node.value)]
        if result is None:
            raise self.refusal(node, "the function returns nothing")
        return [tree.Return(node.lineno, self.expected(node, self.expression(node.value, result), result))]

    def tail_return(self, node: ast.Return, call: ast.Call) -> tree.Statement:
        """`return tail_call(…)`: the callee takes this function's place, so it must look like it from outside."""
        if not call.args or call.keywords:
            raise self.refusal(node, "write: return tail_call(function, arguments…)")
        made = self.call(ast.copy_location(ast.Call(call.args[0], call.args[1:], []), call))
        if isinstance(made, tree.Call):
            pointer, may_fault = made.function.pointer_type, made.function.may_fault
        else:
            pointer, may_fault = made.pointer.type, False
        own = [kind.llvm for _, kind in self.function.parameters]
        if pointer.result != self.function.result or [kind.llvm for kind in pointer.parameters] != own:
            raise self.refusal(node, "tail_call takes a function of the same parameters and result as this one")
        if pointer.convention != self.convention or may_fault != self.may_fault:
            raise self.refusal(node, "tail_call takes a function of the same convention that may fault if this one may")
        return tree.TailReturn(node.lineno, made)

    def statement_Raise(self, node: ast.Raise) -> list[tree.Statement]:  # noqa: N802
        if not isinstance(node.exc, (ast.Name, ast.Attribute)) or self.static(node.exc) is not Fault or node.cause is not None:
            raise self.refusal(node, "only `raise Fault`")
        if not self.may_fault:
            raise self.refusal(node, "only a function marked may_fault=True raises Fault")
        return [tree.RaiseFault(node.lineno)]

    def statement_Expr(self, node: ast.Expr) -> list[tree.Statement]:  # noqa: N802
        if isinstance(node.value, ast.Constant):
            return []  # a docstring, or `...`
        if not isinstance(node.value, ast.Call):
            raise self.refusal(node, "the value is not used")
        return [tree.Evaluate(node.lineno, self.maybe_nothing(node.value, None))]
