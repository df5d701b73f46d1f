"""Definite assignment: whether a local has a value on every path to each of its uses.

A set of names stands for "certainly assigned"; None for "no path leads here", which agrees with everything.
"""

from __future__ import annotations

from gasang.native import tree

Names = frozenset[str] | None


def first_unassigned(function: tree.TypedFunction) -> tuple[int, str] | None:
    """Line and name of the first use of a local that may have no value, or None."""
    try:
        _Flow().run(function.body, frozenset(name for name, _ in function.parameters))
    except _Unassigned as found:
        return found.line, found.name
    return None


class _Unassigned(Exception):
    def __init__(self, line: int, name: str) -> None:
        super().__init__(name)
        self.line = line
        self.name = name


class _Flow:
    def __init__(self) -> None:
        self.breaks: list[Names] = []  # for each loop around: what is assigned at its breaks

    def run(self, body: list[tree.Statement], names: Names) -> Names:
        """What is assigned after the statements."""
        for statement in body:
            if names is None:
                return None
            names = self.step(statement, names)
        return names

    def step(self, node: tree.Statement, names: frozenset[str]) -> Names:
        """What is assigned after one statement."""
        for part in vars(node).values():
            if isinstance(part, tree.Expression):
                _use(part, names, node.line)
        if isinstance(node, tree.Assign):
            return names | {node.name}
        if isinstance(node, tree.If):
            return _both(self.run(node.body, names), self.run(node.orelse, names))
        if isinstance(node, tree.While):
            at_breaks = self.loop(node.body, names)
            return at_breaks if tree.endless(node) else names
        if isinstance(node, tree.For):
            self.loop(node.body, names | {node.name})
            return names
        if isinstance(node, tree.Break):
            self.breaks[-1] = _both(self.breaks[-1], names)
        return None if isinstance(node, (tree.Break, tree.Continue, tree.Return, tree.TailReturn, tree.RaiseFault)) else names

    def loop(self, body: list[tree.Statement], names: frozenset[str]) -> Names:
        """What is assigned where the loop is left by break."""
        self.breaks.append(None)
        self.run(body, names)
        return self.breaks.pop()


def _both(one: Names, other: Names) -> Names:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _use(node: tree.Expression, names: frozenset[str], line: int) -> None:
    if isinstance(node, tree.Local) and node.name not in names:
        raise _Unassigned(line, node.name)
    for part in tree.parts(node):
        _use(part, names, line)
