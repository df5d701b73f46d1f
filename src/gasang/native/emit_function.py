"""One function of the typed tree as LLVM IR.

Locals are stack slots (LLVM's mem2reg makes them registers). A function that may fault returns `{T, i1}` (or `i1`), and each call of it
branches to the caller's own fault exit: that is all an "exception" costs. Calls of functions marked inline=True are expanded here, so
that even the branch falls away: a fault inside is a jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gasang.native import tree
from gasang.native.emit_expressions import ExpressionEmitter
from gasang.native.symbols import CONVENTIONS, ModuleNames, local_name, parameter_name, parameters_text, result_type

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction

_INLINE = {True: "alwaysinline ", False: "noinline ", None: ""}
# LLVM makes calls of the C library's functions from loops and chains of comparisons it recognises; nobody provides these here.
ATTRIBUTES = "nounwind " + " ".join(f'"no-builtin-{name}"' for name in ("strlen", "wcslen", "memcmp", "bcmp"))


@dataclass
class Frame:
    """An inlined call being emitted: where its locals, result and ways out are."""

    function: NativeFunction
    prefix: str
    result: str
    after: str
    fault: str


class FunctionEmitter(ExpressionEmitter):
    """Emits one function."""

    def __init__(self, names: ModuleNames, function: NativeFunction, strict: bool) -> None:
        super().__init__(names, strict)
        self.function = function
        self.loops: list[tuple[str, str]] = []  # labels of (continue, break)
        self.frames: list[Frame] = []

    def emit(self) -> str:
        """The function's text."""
        function, typed = self.function, self.function.tree
        if function.elsewhere:
            convention = CONVENTIONS[function.convention]
            return f"declare {convention}{result_type(function)} {self.names.symbol(function)}({parameters_text(typed.parameters)})\n"
        for name, kind in typed.local_types.items():
            self.slots.append(f"  {local_name(name)} = alloca {kind.llvm}, align {kind.alignment}")
        for name, kind in typed.parameters:
            self.line(f"store {kind.llvm} {parameter_name(name)}, ptr {local_name(name)}")
        self.statements(typed.body)
        self.terminate(self._plain_return())
        linkage = "" if function.external_name else "internal "
        signature = f"{result_type(function)} {self.names.symbol(function)}({parameters_text(typed.parameters)})"
        features = f' "target-features"="{function.features}"' if function.features else ""
        attributes = _INLINE[function.inline] + ATTRIBUTES + self.strict + features
        section = f' section "{function.section}"' if function.section else ""
        head = f"define {linkage}{CONVENTIONS[function.convention]}{signature} {attributes}{section} {{"
        return "\n".join([head, "entry:", *self.slots, *self.lines, "}", ""])

    def _plain_return(self) -> str:
        if self.function.result is not None:
            return "unreachable"
        return "ret i1 false" if self.function.may_fault else "ret void"

    def fault(self) -> None:
        """Leave the function with a fault."""
        if self.frames:
            self.jump(self.frames[-1].fault)
        elif self.function.result is None:
            self.terminate("ret i1 true")
        else:
            kind = result_type(self.function)
            self.terminate(f"ret {kind} {{ {self.function.result.llvm} undef, i1 true }}")

    def local(self, name: str) -> str:
        """The stack slot of a local."""
        return local_name(self.frames[-1].prefix + name if self.frames else name)

    def inlined(self, node: tree.Call) -> str | None:
        """A call of a function marked inline=True, expanded; None for others and where the function calls itself."""
        function = node.function
        if not function.inline or function is self.function or any(frame.function is function for frame in self.frames):
            return None
        values = [self.expression(argument) for argument in node.arguments]
        result = "" if function.result is None else self.slot(function.result.llvm)
        frame = Frame(function, f"{self.label('inlined')}.", result, self.label("after"), self.label("fault"))
        for name, kind in function.tree.local_types.items():
            self.slots.append(f"  {local_name(frame.prefix + name)} = alloca {kind.llvm}, align {kind.alignment}")
        for (name, kind), value in zip(function.tree.parameters, values, strict=True):
            self.line(f"store {kind.llvm} {value}, ptr {local_name(frame.prefix + name)}")
        loops, self.loops = self.loops, []
        self.frames.append(frame)
        self.statements(function.tree.body)
        self.jump(frame.after)
        self.frames.pop()
        self.loops = loops
        return self._after_inlined(frame, node.attempted)

    def _after_inlined(self, frame: Frame, attempted: bool) -> str:
        if attempted:
            end = self.label("end")
            for label in (frame.fault, frame.after):
                self.begin(label)
                self.jump(end)
            self.begin(end)
            return self.value(f"phi i1 [ false, %{frame.fault} ], [ true, %{frame.after} ]")
        if frame.function.may_fault:
            self.begin(frame.fault)
            self.fault()
        self.begin(frame.after)
        return "" if frame.function.result is None else self.value(f"load {frame.function.result.llvm}, ptr {frame.result}")

    def statements(self, body: list[tree.Statement]) -> None:
        """Emit statements up to the first that ends the block."""
        for statement in body:
            if not self.open:
                return
            getattr(self, "statement_" + type(statement).__name__)(statement)

    def statement_Assign(self, node: tree.Assign) -> None:  # noqa: N802 - named after the node
        value = self.expression(node.value)
        self.line(f"store {node.value.type.llvm} {value}, ptr {self.local(node.name)}")

    def statement_Store(self, node: tree.Store) -> None:  # noqa: N802
        value = self.expression(node.value)  # first, as Python does
        self.store(node.value.type, value, self.expression(node.pointer), node.value.type.alignment)

    def statement_Evaluate(self, node: tree.Evaluate) -> None:  # noqa: N802
        self.expression(node.value)

    def statement_If(self, node: tree.If) -> None:  # noqa: N802
        then, other, after = self.label("then"), self.label("else"), self.label("end")
        self.branch(self.expression(node.test), then, other if node.orelse else after)
        for label, body in ((then, node.body), (other, node.orelse)):
            if label == then or body:
                self.begin(label)
                self.statements(body)
                self.jump(after)
        self.begin(after)

    def statement_While(self, node: tree.While) -> None:  # noqa: N802
        test, body, after = self.label("test"), self.label("body"), self.label("end")
        self.start(test)
        self.branch(self.expression(node.test), body, after)
        self.begin(body)
        self._loop_body(node.body, test, after)
        self.jump(test)
        self.begin(after)

    def _loop_body(self, body: list[tree.Statement], again: str, after: str) -> None:
        self.loops.append((again, after))
        self.statements(body)
        self.loops.pop()

    def statement_For(self, node: tree.For) -> None:  # noqa: N802
        kind = node.start.type
        t = kind.llvm
        start, stop = self.expression(node.start), self.expression(node.stop)
        counter = self.slot(t)
        self.line(f"store {t} {start}, ptr {counter}")
        body, advance, after = self.label("body"), self.label("next"), self.label("end")
        less = ("s" if kind.signed else "u") + ("lt" if node.step > 0 else "gt")
        self.branch(self.value(f"icmp {less} {t} {start}, {stop}"), body, after)
        self.begin(body)
        current = self.value(f"load {t}, ptr {counter}")
        self.line(f"store {t} {current}, ptr {self.local(node.name)}")
        self._loop_body(node.body, advance, after)
        self.start(advance)
        if abs(node.step) >> kind.bits:  # longer than the type's whole range: one turn
            self.jump(after)
        else:
            # `stop - current` cannot overflow while current has not passed stop; comparing it to the step keeps the counter from wrapping.
            current = self.value(f"load {t}, ptr {counter}")
            left = self.value(f"sub {t} {stop}, {current}" if node.step > 0 else f"sub {t} {current}, {stop}")
            more = self.value(f"icmp ugt {t} {left}, {abs(node.step)}")
            self.line(f"store {t} {self.value(f'add {t} {current}, {kind.wrap(node.step)}')}, ptr {counter}")
            self.branch(more, body, after)
        self.begin(after)

    def statement_Break(self, node: tree.Break) -> None:  # noqa: N802
        self.jump(self.loops[-1][1])

    def statement_Continue(self, node: tree.Continue) -> None:  # noqa: N802
        self.jump(self.loops[-1][0])

    def statement_Return(self, node: tree.Return) -> None:  # noqa: N802
        if self.frames:
            self._return_inlined(node.value)
            return
        if node.value is None:
            self.terminate(self._plain_return())
            return
        value = self.expression(node.value)
        kind = result_type(self.function)
        if self.function.may_fault:
            t = node.value.type.llvm
            value = self.value(f"insertvalue {kind} {{ {t} undef, i1 false }}, {t} {value}, 0")
        self.terminate(f"ret {kind} {value}")

    def _return_inlined(self, node: tree.Expression | None) -> None:
        frame = self.frames[-1]
        if node is not None:
            value = self.expression(node)
            if node.type is not None:
                self.line(f"store {node.type.llvm} {value}, ptr {frame.result}")
        self.jump(frame.after)

    def statement_TailReturn(self, node: tree.TailReturn) -> None:  # noqa: N802
        if self.frames:  # inside another function it is an ordinary call
            self._return_inlined(node.call)
            return
        kind, text = self.call_text(node.call)
        if kind == "void":
            self.line(f"musttail {text}")
            self.terminate("ret void")
        else:
            self.count += 1
            self.line(f"%t{self.count} = musttail {text}")
            self.terminate(f"ret {kind} %t{self.count}")

    def statement_RaiseFault(self, node: tree.RaiseFault) -> None:  # noqa: N802
        self.fault()
