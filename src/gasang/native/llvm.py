"""From the typed tree to LLVM IR text.

Locals are stack slots (LLVM's mem2reg makes them registers); struct fields and elements are byte offsets from opaque pointers. A function
that may fault returns `{T, i1}` (or `i1`), and each call of it branches to the caller's own fault exit: that is all an "exception" costs.
Floating-point operations are LLVM's constrained ones, so that the thread's rounding mode is honoured and no flag is lost or invented.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gasang.core.errors import UnsupportedError
from gasang.native import tree
from gasang.native.types import ArrayType, FloatType, FunctionType, IntType, PointerType, StructType, Type, bits_of, boolean, i64, u64

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction

CONVENTIONS = {"c": "", "preserve_none": "preserve_nonecc "}
_INTEGER_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ROUNDING = 'metadata !"round.dynamic"'
_EXCEPTIONS = 'metadata !"fpexcept.strict"'


class UnsupportedHost(UnsupportedError):
    """The host's processor family has no code for an operation."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation, f"native code for {machine()} has none", "use a host with an x86-64 or AArch64 processor")


def machine() -> str:
    """The host's processor family: x86_64 or aarch64."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def result_type(function: NativeFunction) -> str:
    """What the LLVM function returns."""
    plain = "void" if function.result is None else function.result.llvm
    if not function.may_fault:
        return plain
    return "i1" if function.result is None else f"{{ {plain}, i1 }}"


def table_symbol(name: str) -> str:
    """The symbol of a table of code addresses."""
    return f"table.{name}"


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
    """One LLVM module: the roots with C entry points, all they reach, and tables of code addresses."""

    def __init__(self, roots: list[NativeFunction], tables: dict[str, list[NativeFunction]] | None = None) -> None:
        self.roots = roots
        self.tables = tables or {}
        members = [*roots, *(function for table in self.tables.values() for function in table)]
        self.functions = reachable(members)
        self.names: dict[int, str] = {}
        taken: set[str] = set()
        for function in self.functions:
            plain = function.external_name or f"native.{function.name}"  # a bare name could be one LLVM takes for the C library's
            name, count = plain, 1
            while name in taken:
                count += 1
                name = f"{plain}.{count}"
            taken.add(name)
            self.names[id(function)] = name
        self.floating = self._find_floating()

    def _find_floating(self) -> set[int]:
        floating = {id(function) for function in self.functions if uses_floats(function.tree)}
        changed = True
        while changed:
            before = len(floating)
            for function in self.functions:
                if any(id(callee) in floating for callee in function.tree.callees):
                    floating.add(id(function))
            changed = len(floating) != before
        return floating

    def name(self, function: NativeFunction) -> str:
        """The function's symbol inside the module."""
        return f'@"{self.names[id(function)]}"'

    def emit(self) -> str:
        """The module's text."""
        parts = [FunctionEmitter(self, function).emit() for function in self.functions]
        parts += [self._entry(index, root) for index, root in enumerate(self.roots)]
        for name, functions in self.tables.items():
            cells = ", ".join(f"ptr {self.name(function)}" for function in functions)
            parts.append(f'@"{table_symbol(name)}" = constant [{len(functions)} x ptr] [{cells}]\n')
        return "\n".join(parts)

    def _entry(self, index: int, root: NativeFunction) -> str:
        """A C-callable function: results of faulting functions go through a pointer, the fault is the result."""
        parameters = [f'{kind.llvm}{_extension(kind)} %"p.{name}"' for name, kind in root.parameters]
        arguments = ", ".join(f'{kind.llvm} %"p.{name}"' for name, kind in root.parameters)
        strict = " strictfp" if id(root) in self.floating else ""
        kind = result_type(root)
        call = f"call {CONVENTIONS[root.convention]}{kind} {self.name(root)}({arguments}){strict}"
        if root.may_fault and root.result is not None:
            value = root.result.llvm
            body = (
                f"  %pair = {call}\n  %value = extractvalue {kind} %pair, 0\n  %bad = extractvalue {kind} %pair, 1\n"
                f"  store {value} %value, ptr %out\n  ret i1 %bad"
            )
            return f"define zeroext i1 @entry{index}({', '.join(['ptr %out', *parameters])}){strict} {{\n{body}\n}}\n"
        body = f"  {call}\n  ret void" if kind == "void" else f"  %r = {call}\n  ret {kind} %r"
        extension = " zeroext" if kind == "i1" else _extension(root.result) if root.result else ""
        return f"define{extension} {kind} @entry{index}({', '.join(parameters)}){strict} {{\n{body}\n}}\n"


def _extension(kind: Type) -> str:
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


@dataclass
class Frame:
    """An inlined call being emitted: where its locals, result and ways out are."""

    function: NativeFunction
    prefix: str
    result: str
    after: str
    fault: str


class FunctionEmitter:
    """Emits one function. Calls of functions marked inline=True are expanded here, so that a fault is a jump, not a flag to test."""

    def __init__(self, module: ModuleEmitter, function: NativeFunction) -> None:
        self.module = module
        self.function = function
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"
        self.open = True  # whether the current block still lacks its terminator
        self.loops: list[tuple[str, str]] = []  # labels of (continue, break)
        self.strict = " strictfp" if id(function) in module.floating else ""
        self.slots: list[str] = []
        self.frames: list[Frame] = []

    # ------------------------------------------------------------------ text

    def line(self, text: str) -> None:
        """Append an instruction; after a terminator it is unreachable and dropped."""
        if self.open:
            self.lines.append("  " + text)

    def value(self, text: str) -> str:
        """Append an instruction that gives a value; its name."""
        self.count += 1
        name = f"%t{self.count}"
        if text.startswith("call") and self.strict and not text.endswith("strictfp"):
            text += self.strict
        self.line(f"{name} = {text}")
        return name

    def label(self, hint: str) -> str:
        """A fresh label."""
        self.count += 1
        return f"{hint}{self.count}"

    def start(self, label: str) -> None:
        """Begin a block, falling into it if the current one is open."""
        self.jump(label)
        self.lines.append(f"{label}:")
        self.block = label
        self.open = True

    def jump(self, label: str) -> None:
        """Terminate the block with a jump."""
        self.terminate(f"br label %{label}")

    def branch(self, condition: str, then: str, other: str) -> None:
        """Terminate the block with a conditional jump."""
        self.terminate(f"br i1 {condition}, label %{then}, label %{other}")

    def terminate(self, text: str) -> None:
        """Terminate the block."""
        self.line(text)
        self.open = False

    def emit(self) -> str:
        """The function's text."""
        function = self.function
        typed = function.tree
        for name, kind in typed.local_types.items():
            self.slots.append(f"  {_local(name)} = alloca {kind.llvm}, align {kind.alignment}")
        for name, kind in typed.parameters:
            self.line(f'store {kind.llvm} %"p.{name}", ptr {_local(name)}')
        self.statements(typed.body)
        self.terminate(self._plain_return())
        parameters = ", ".join(f'{kind.llvm} %"p.{name}"' for name, kind in typed.parameters)
        linkage = "" if function.external_name else "internal "
        attributes = " ".join(filter(None, ["nounwind", {True: "alwaysinline", False: "noinline", None: ""}[function.inline], self.strict.strip()]))
        head = f"define {linkage}{CONVENTIONS[function.convention]}{result_type(function)} {self.module.name(function)}({parameters}) {attributes} {{"
        return "\n".join([head, "entry:", *self.slots, *self.lines, "}", ""])

    def _plain_return(self) -> str:
        if self.function.result is not None:
            return "unreachable"
        return "ret i1 false" if self.function.may_fault else "ret void"

    def fault(self) -> None:
        """Leave the function with a fault."""
        if self.frames:
            self.jump(self.frames[-1].fault)
            return
        if self.function.result is None:
            self.terminate("ret i1 true")
        else:
            kind = result_type(self.function)
            self.terminate(f"ret {kind} {{ {self.function.result.llvm} undef, i1 true }}")

    # ------------------------------------------------------------------ statements

    def statements(self, body: list[tree.Statement]) -> None:
        for statement in body:
            if not self.open:
                return
            getattr(self, "statement_" + type(statement).__name__)(statement)

    def local(self, name: str) -> str:
        """The stack slot of a local."""
        return _local(self.frames[-1].prefix + name if self.frames else name)

    def statement_Assign(self, node: tree.Assign) -> None:  # noqa: N802 - named after the node
        value = self.expression(node.value)
        self.line(f"store {node.value.type.llvm} {value}, ptr {self.local(node.name)}")

    def statement_Store(self, node: tree.Store) -> None:  # noqa: N802
        pointer = self.expression(node.pointer)
        value = self.expression(node.value)
        self.store(node.value.type, value, pointer)

    def store(self, kind: Type, value: str, pointer: str) -> None:
        """Store a value; a boolean takes a whole byte."""
        if kind is boolean:
            self.line(f"store i8 {self.value(f'zext i1 {value} to i8')}, ptr {pointer}")
        else:
            self.line(f"store {kind.llvm} {value}, ptr {pointer}, align {kind.alignment}")

    def statement_Evaluate(self, node: tree.Evaluate) -> None:  # noqa: N802
        self.expression(node.value)

    def statement_If(self, node: tree.If) -> None:  # noqa: N802
        then, other, after = self.label("then"), self.label("else"), self.label("end")
        self.branch(self.expression(node.test), then, other if node.orelse else after)
        for label, body in ((then, node.body), (other, node.orelse)):
            if label == then or body:
                self.lines.append(f"{label}:")
                self.block, self.open = label, True
                self.statements(body)
                self.jump(after)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True

    def statement_While(self, node: tree.While) -> None:  # noqa: N802
        test, body, after = self.label("test"), self.label("body"), self.label("end")
        self.start(test)
        self.branch(self.expression(node.test), body, after)
        self._loop(body, node.body, test, after, test)

    def _loop(self, label: str, body: list[tree.Statement], again: str, after: str, next_label: str) -> None:
        self.lines.append(f"{label}:")
        self.block, self.open = label, True
        self.loops.append((again, after))
        self.statements(body)
        self.loops.pop()
        self.jump(next_label)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True

    def statement_For(self, node: tree.For) -> None:  # noqa: N802
        kind = node.start.type
        t = kind.llvm
        start, stop = self.expression(node.start), self.expression(node.stop)
        hidden = f"%c{self.label('x')}"
        self.slots.append(f"  {hidden} = alloca {t}")
        self.line(f"store {t} {start}, ptr {hidden}")
        body, advance, again, after = (self.label(hint) for hint in ("body", "next", "again", "end"))
        prefix = "s" if kind.signed else "u"
        less = f"{prefix}lt" if node.step > 0 else f"{prefix}gt"
        self.branch(self.value(f"icmp {less} {t} {start}, {stop}"), again, after)
        self.lines.append(f"{again}:")
        self.block, self.open = again, True
        current = self.value(f"load {t}, ptr {hidden}")
        self.line(f"store {t} {current}, ptr {self.local(node.name)}")
        self.jump(body)
        self.lines.append(f"{body}:")
        self.block, self.open = body, True
        self.loops.append((advance, after))
        self.statements(node.body)
        self.loops.pop()
        self.start(advance)
        # `stop - current` cannot overflow while current has not passed stop; comparing it to the step keeps the counter from wrapping.
        current = self.value(f"load {t}, ptr {hidden}")
        left = self.value(f"sub {t} {stop}, {current}" if node.step > 0 else f"sub {t} {current}, {stop}")
        more = self.value(f"icmp ugt {t} {left}, {abs(node.step)}")
        following = self.value(f"add {t} {current}, {node.step}")
        self.line(f"store {t} {following}, ptr {hidden}")
        self.branch(more, again, after)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True

    def statement_Break(self, node: tree.Break) -> None:  # noqa: N802
        self.jump(self.loops[-1][1])

    def statement_Continue(self, node: tree.Continue) -> None:  # noqa: N802
        self.jump(self.loops[-1][0])

    def statement_Return(self, node: tree.Return) -> None:  # noqa: N802
        if self.frames:
            if node.value is not None:
                self.line(f"store {node.value.type.llvm} {self.expression(node.value)}, ptr {self.frames[-1].result}")
            self.jump(self.frames[-1].after)
            return
        if node.value is None:
            self.terminate(self._plain_return())
            return
        value = self.expression(node.value)
        t = node.value.type.llvm
        if self.function.may_fault:
            kind = result_type(self.function)
            value = self.value(f"insertvalue {kind} {{ {t} undef, i1 false }}, {t} {value}, 0")
            t = kind
        self.terminate(f"ret {t} {value}")

    def statement_TailReturn(self, node: tree.TailReturn) -> None:  # noqa: N802
        call = node.call
        if isinstance(call, tree.Call):
            target, convention = self.module.name(call.function), call.function.convention
        else:
            target, convention = self.expression(call.pointer), call.pointer.type.convention
        arguments = ", ".join(f"{argument.type.llvm} {self.expression(argument)}" for argument in call.arguments)
        kind = "void" if call.type is None else call.type.llvm
        text = f"musttail call {CONVENTIONS[convention]}{kind} {target}({arguments}){self.strict}"
        if kind == "void":
            self.line(text)
            self.terminate("ret void")
        else:
            result = self.value(text)
            self.terminate(f"ret {kind} {result}")

    def statement_RaiseFault(self, node: tree.RaiseFault) -> None:  # noqa: N802
        self.fault()

    # ------------------------------------------------------------------ expressions

    def expression(self, node: tree.Expression) -> str:
        """Emit an expression; the name of its value."""
        result: str = getattr(self, "expression_" + type(node).__name__)(node)
        return result

    def expression_Constant(self, node: tree.Constant) -> str:  # noqa: N802
        if isinstance(node.type, (PointerType, FunctionType)):
            return "null"
        if isinstance(node.type, FloatType):
            value = bits_of(node.type, node.value) if node.type.bits == 64 else bits_of(_double(), node.value)
            return f"0x{value:016X}"
        return ("true" if node.value else "false") if node.type is boolean else str(node.value)

    def expression_Local(self, node: tree.Local) -> str:  # noqa: N802
        return self.value(f"load {node.type.llvm}, ptr {self.local(node.name)}")

    def expression_Load(self, node: tree.Load) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        if node.type is boolean:
            return self.value(f"trunc i8 {self.value(f'load i8, ptr {pointer}')} to i1")
        return self.value(f"load {node.type.llvm}, ptr {pointer}, align {node.type.alignment}")

    def expression_Offset(self, node: tree.Offset) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        index = self.expression(node.index)
        kind = node.index.type
        if kind.bits < 64:
            index = self.value(f"{'sext' if kind.signed else 'zext'} {kind.llvm} {index} to i64")
        return self.value(f"getelementptr {_memory_type(node.type.target)}, ptr {pointer}, i64 {index}")

    def expression_FieldAddress(self, node: tree.FieldAddress) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {node.field.offset}") if node.field.offset else pointer

    def expression_FunctionAddress(self, node: tree.FunctionAddress) -> str:  # noqa: N802
        return self.module.name(node.function)

    def expression_Binary(self, node: tree.Binary) -> str:  # noqa: N802
        left, right = self.expression(node.left), self.expression(node.right)
        kind = node.type
        if isinstance(kind, FloatType):
            return self.strict_float(_FLOAT_BINARY[node.operator], kind, [left, right], True)
        if node.operator in ("floordiv", "mod"):
            return self.floor_division(kind, node.operator, left, right)
        if node.operator in ("shl", "shr"):
            right = self.value(f"and {kind.llvm} {right}, {kind.bits - 1}")
        if node.operator == "shr":
            return self.value(f"{'ashr' if kind.signed else 'lshr'} {kind.llvm} {left}, {right}")
        return self.value(f"{_INTEGER_BINARY[node.operator]} {kind.llvm} {left}, {right}")

    def guarded_division(self, kind: IntType, which: str, left: str, right: str) -> str:
        """Truncating quotient or rest, defined for every operand as RISC-V defines it."""
        t, sign = kind.llvm, "s" if kind.signed else "u"
        zero = self.value(f"icmp eq {t} {right}, 0")
        unsafe = zero
        if kind.signed:
            lowest = self.value(f"icmp eq {t} {left}, {-(1 << (kind.bits - 1))}")
            minus = self.value(f"icmp eq {t} {right}, -1")
            unsafe = self.value(f"or i1 {zero}, {self.value(f'and i1 {lowest}, {minus}')}")
        divisor = self.value(f"select i1 {unsafe}, {t} 1, {t} {right}")
        operation, by_zero = (f"{sign}div", "-1") if which == "quotient" else (f"{sign}rem", left)
        result = self.value(f"{operation} {t} {left}, {divisor}")
        return self.value(f"select i1 {zero}, {t} {by_zero}, {t} {result}")

    def floor_division(self, kind: IntType, operator: str, left: str, right: str) -> str:
        """Python's // and %."""
        which = "quotient" if operator == "floordiv" else "rest"
        result = self.guarded_division(kind, which, left, right)
        if not kind.signed:
            return result
        t = kind.llvm
        rest = result if which == "rest" else self.guarded_division(kind, "rest", left, right)
        uneven = self.value(f"icmp ne {t} {rest}, 0")
        opposed = self.value(f"icmp slt {t} {self.value(f'xor {t} {rest}, {right}')}, 0")
        divisible = self.value(f"icmp ne {t} {right}, 0")
        adjust = self.value(f"and i1 {self.value(f'and i1 {uneven}, {opposed}')}, {divisible}")
        change = self.value(f"select i1 {adjust}, {t} {'-1' if which == 'quotient' else right}, {t} 0")
        return self.value(f"add {t} {result}, {change}")

    def strict_float(self, name: str, kind: Type, operands: list[str], rounding: bool) -> str:
        """A floating-point operation under the thread's rounding mode."""
        t = kind.llvm
        arguments = ", ".join(f"{t} {operand}" for operand in operands)
        extra = f", {_ROUNDING}, {_EXCEPTIONS}" if rounding else f", {_EXCEPTIONS}"
        suffix = f".f{kind.size * 8}"
        return self.value(f"call {t} @llvm.experimental.constrained.{name}{suffix}({arguments}{extra}) strictfp")

    def strict_convert(self, name: str, to: Type, source: Type, operand: str, rounding: bool) -> str:
        """A conversion from or to a float."""
        extra = f", {_ROUNDING}, {_EXCEPTIONS}" if rounding else f", {_EXCEPTIONS}"
        suffix = f"{_suffix(to)}{_suffix(source)}"
        return self.value(f"call {to.llvm} @llvm.experimental.constrained.{name}{suffix}({source.llvm} {operand}{extra}) strictfp")

    def strict_compare(self, which: str, predicate: str, kind: Type, left: str, right: str) -> str:
        """A comparison: `fcmp` quiet, `fcmps` signaling."""
        t = kind.llvm
        call = f"call i1 @llvm.experimental.constrained.{which}{_suffix(kind)}({t} {left}, {t} {right}"
        return self.value(f'{call}, metadata !"{predicate}", {_EXCEPTIONS}) strictfp')

    def expression_Unary(self, node: tree.Unary) -> str:  # noqa: N802
        operand = self.expression(node.operand)
        t = node.type.llvm
        if isinstance(node.type, FloatType):
            return self.value(f"fneg {t} {operand}")
        if node.operator == "neg":
            return self.value(f"sub {t} 0, {operand}")
        return self.value(f"xor {t} {operand}, -1")

    def expression_Compare(self, node: tree.Compare) -> str:  # noqa: N802
        left, right = self.expression(node.left), self.expression(node.right)
        kind = node.left.type
        if isinstance(kind, FloatType):
            return self.strict_compare("fcmp", _FLOAT_PREDICATES[node.operator], kind, left, right)
        names = {"lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
        sign = "s" if getattr(kind, "signed", False) else "u"
        predicate = node.operator if node.operator in ("eq", "ne") else sign + names[node.operator]
        return self.value(f"icmp {predicate} {kind.llvm} {left}, {right}")

    def expression_Logic(self, node: tree.Logic) -> str:  # noqa: N802
        left = self.expression(node.left)
        origin, more, after = self.block, self.label("more"), self.label("end")
        short = "false" if node.operator == "and" else "true"
        self.branch(left, *((more, after) if node.operator == "and" else (after, more)))
        return self._join(short, origin, more, after, node.right)

    def _join(self, short: str, origin: str, more: str, after: str, right_node: tree.Expression) -> str:
        self.lines.append(f"{more}:")
        self.block, self.open = more, True
        right = self.expression(right_node)
        end = self.block
        self.jump(after)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True
        return self.value(f"phi i1 [ {short}, %{origin} ], [ {right}, %{end} ]")

    def expression_Select(self, node: tree.Select) -> str:  # noqa: N802
        then, other, after = self.label("then"), self.label("else"), self.label("end")
        self.branch(self.expression(node.condition), then, other)
        arms = []
        for label, arm in ((then, node.then), (other, node.other)):
            self.lines.append(f"{label}:")
            self.block, self.open = label, True
            value = self.expression(arm)
            arms.append(f"[ {value}, %{self.block} ]")
            self.jump(after)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True
        return self.value(f"phi {node.type.llvm} {', '.join(arms)}")

    def expression_Convert(self, node: tree.Convert) -> str:  # noqa: N802
        operand = self.expression(node.operand)
        source, to = node.operand.type, node.type
        addresses = (PointerType, FunctionType)
        if isinstance(source, addresses):
            return operand if isinstance(to, addresses) else self.value(f"ptrtoint ptr {operand} to i64")
        if isinstance(to, addresses):
            return self.value(f"inttoptr {u64.llvm} {operand} to ptr")
        return self.convert_number(operand, source, to)

    def convert_number(self, operand: str, source: Type, to: Type) -> str:
        """Between integers and floats."""
        if isinstance(source, FloatType):
            return self._from_float(operand, source, to)
        assert isinstance(source, IntType)
        if isinstance(to, FloatType):
            return self.strict_convert("sitofp" if source.signed else "uitofp", to, source, operand, rounding=True)
        assert isinstance(to, IntType)
        if source.bits == to.bits:
            return operand
        if source.bits > to.bits:
            if to is boolean:
                return self.value(f"icmp ne {source.llvm} {operand}, 0")
            return self.value(f"trunc {source.llvm} {operand} to {to.llvm}")
        return self.value(f"{'sext' if source.signed else 'zext'} {source.llvm} {operand} to {to.llvm}")

    def _from_float(self, operand: str, source: FloatType, to: Type) -> str:
        if isinstance(to, FloatType):
            if source.bits == to.bits:
                return operand
            widening = to.bits > source.bits
            return self.strict_convert("fpext" if widening else "fptrunc", to, source, operand, rounding=not widening)
        assert isinstance(to, IntType)
        return self._saturate(operand, source, to)

    def _saturate(self, operand: str, source: FloatType, to: IntType) -> str:
        """Toward zero; only in-range values reach the host's conversion, so that no flag is invented."""
        low = -(2.0 ** (to.bits - 1)) if to.signed else 0.0
        high = 2.0 ** (to.bits - 1 if to.signed else to.bits)
        lowest, highest = (-(1 << (to.bits - 1)), (1 << (to.bits - 1)) - 1) if to.signed else (0, (1 << to.bits) - 1)
        inside, outside, after = self.label("inside"), self.label("outside"), self.label("end")
        below_high = self.strict_compare("fcmp", "olt", source, operand, _float_text(high))
        above_low = self.strict_compare("fcmp", "oge", source, operand, _float_text(low))
        self.branch(self.value(f"and i1 {below_high}, {above_low}"), inside, outside)
        self.lines.append(f"{inside}:")
        self.block, self.open = inside, True
        converted = self.strict_convert("fptosi" if to.signed else "fptoui", to, source, operand, rounding=False)
        self.jump(after)
        self.lines.append(f"{outside}:")
        self.block, self.open = outside, True
        too_high = self.strict_compare("fcmp", "oge", source, operand, _float_text(high))
        too_low = self.strict_compare("fcmp", "olt", source, operand, _float_text(low))
        end = self.value(f"select i1 {too_low}, {to.llvm} {lowest}, {to.llvm} 0")
        end = self.value(f"select i1 {too_high}, {to.llvm} {highest}, {to.llvm} {end}")
        self.jump(after)
        self.lines.append(f"{after}:")
        self.block, self.open = after, True
        return self.value(f"phi {to.llvm} [ {converted}, %{inside} ], [ {end}, %{outside} ]")

    # ------------------------------------------------------------------ calls

    def expression_Call(self, node: tree.Call) -> str:  # noqa: N802
        function = node.function
        if function.inline and all(frame.function is not function for frame in self.frames) and function is not self.function:
            return self.inlined(node)
        arguments = ", ".join(f"{argument.type.llvm} {self.expression(argument)}" for argument in node.arguments)
        kind = result_type(function)
        text = f"call {CONVENTIONS[function.convention]}{kind} {self.module.name(function)}({arguments}){self.strict}"
        if kind == "void":
            self.line(text)
            return ""
        result = self.value(text)
        if node.attempted:
            return self.value(f"xor i1 {result}, true")
        if not function.may_fault:
            return result
        bad = result if function.result is None else self.value(f"extractvalue {kind} {result}, 1")
        fault, going = self.label("fault"), self.label("go")
        self.branch(bad, fault, going)
        self.lines.append(f"{fault}:")
        self.block, self.open = fault, True
        self.fault()
        self.lines.append(f"{going}:")
        self.block, self.open = going, True
        return "" if function.result is None else self.value(f"extractvalue {kind} {result}, 0")

    def begin_block(self, label: str) -> None:
        """Start a block that only jumps reach."""
        self.lines.append(f"{label}:")
        self.block, self.open = label, True

    def inlined(self, node: tree.Call) -> str:
        """Expand a call."""
        function = node.function
        values = [self.expression(argument) for argument in node.arguments]
        frame = Frame(function, f"{self.label('i')}.", f"%r.{self.label('x')}", self.label("after"), self.label("fault"))
        for name, kind in function.tree.local_types.items():
            self.slots.append(f"  {_local(frame.prefix + name)} = alloca {kind.llvm}, align {kind.alignment}")
        if function.result is not None:
            self.slots.append(f"  {frame.result} = alloca {function.result.llvm}")
        self.frames.append(frame)
        for (name, kind), value in zip(function.tree.parameters, values, strict=True):
            self.line(f"store {kind.llvm} {value}, ptr {self.local(name)}")
        loops, self.loops = self.loops, []
        self.statements(function.tree.body)
        self.jump(frame.after)
        self.loops = loops
        self.frames.pop()
        if node.attempted:
            return self._attempted(frame)
        if function.may_fault:
            self.begin_block(frame.fault)
            self.fault()
        self.begin_block(frame.after)
        return "" if function.result is None else self.value(f"load {function.result.llvm}, ptr {frame.result}")

    def _attempted(self, frame: Frame) -> str:
        end = self.label("end")
        for label in (frame.fault, frame.after):
            self.begin_block(label)
            self.jump(end)
        self.begin_block(end)
        return self.value(f"phi i1 [ false, %{frame.fault} ], [ true, %{frame.after} ]")

    def expression_PointerCall(self, node: tree.PointerCall) -> str:  # noqa: N802
        pointer = self.expression(node.pointer)
        arguments = ", ".join(f"{argument.type.llvm} {self.expression(argument)}" for argument in node.arguments)
        kind = "void" if node.type is None else node.type.llvm
        text = f"call {CONVENTIONS[node.pointer.type.convention]}{kind} {pointer}({arguments}){self.strict}"
        if node.type is None:
            self.line(text)
            return ""
        return self.value(text)

    def expression_IntrinsicCall(self, node: tree.IntrinsicCall) -> str:  # noqa: N802
        operands = [self.expression(argument) for argument in node.arguments]
        return node.intrinsic.emit(self, [argument.type for argument in node.arguments], operands, node.type_argument)

    # ------------------------------------------------------------------ what only one processor family has

    def syscall(self, arguments: list[str]) -> str:
        """A Linux system call."""
        rows = {
            "x86_64": ("syscall", "={rax}", ["{rax}", "{rdi}", "{rsi}", "{rdx}", "{r10}", "{r8}", "{r9}"], "~{rcx},~{r11},~{memory}"),
            "aarch64": ("svc #0", "={x0}", ["{x8}", "{x0}", "{x1}", "{x2}", "{x3}", "{x4}", "{x5}"], "~{memory}"),
        }
        if machine() not in rows:
            raise UnsupportedHost("system calls")
        text, result, registers, clobbers = rows[machine()]
        constraints = ",".join([result, *registers[: len(arguments)], clobbers])
        operands = ", ".join(f"i64 {argument}" for argument in arguments)
        return self.value(f'call i64 asm sideeffect "{text}", "{constraints}"({operands})')

    def round_to_i64(self, kind: FloatType, operand: str) -> str:
        """To an integer by the thread's rounding mode; the lowest one, and "invalid", where none fits."""
        if machine() == "x86_64":  # the instruction does just that; LLVM would call llrint of the C library
            letter = "d" if kind.bits == 64 else "s"
            return self.value(f'call i64 asm sideeffect "vcvts{letter}2si $1, $0", "=r,x"({kind.llvm} {operand})')
        rounded = self.strict_convert("llrint", i64, kind, operand, rounding=True)
        below = self.strict_compare("fcmp", "olt", kind, operand, _float_text(2.0**63))
        return self.value(f"select i1 {below}, i64 {rounded}, i64 {-(1 << 63)}")

    def ticks(self) -> str:
        """The host's counter of constant rate (x86: TSC; Arm: CNTVCT_EL0)."""
        if machine() == "aarch64":
            return self.value('call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()')
        return self.value("call i64 @llvm.readcyclecounter()")

    def float_flags(self) -> str:
        """The accrued flags as NX UF OF DZ NV, bits 0 to 4."""
        control, rows = self._read_float_state()
        result = "0"
        for position, place in enumerate(rows):
            bit = self.value(f"and i32 {self.value(f'lshr i32 {control}, {place}')}, 1")
            result = self.value(f"or i32 {result}, {self.value(f'shl i32 {bit}, {position}')}")
        return result

    def _slot(self) -> str:
        slot = f"%m{self.label('x')}"
        self.slots.append(f"  {slot} = alloca i32")
        return slot

    def _read_float_state(self) -> tuple[str, list[int]]:
        if machine() == "x86_64":  # MXCSR (Intel SDM volume 1, 10.2.3): IE 0, ZE 2, OE 3, UE 4, PE 5
            slot = self._slot()
            self.line(f"call void @llvm.x86.sse.stmxcsr(ptr {slot}){self.strict}")
            return self.value(f"load i32, ptr {slot}"), [5, 4, 3, 2, 0]
        if machine() == "aarch64":  # FPSR (Arm ARM): IOC 0, DZC 1, OFC 2, UFC 3, IXC 4
            wide = self.value("call i64 @llvm.aarch64.get.fpsr()")
            return self.value(f"trunc i64 {wide} to i32"), [4, 3, 2, 1, 0]
        raise UnsupportedHost("floating-point flags")

    def set_float_control(self, rounding: str, flags: str) -> None:
        """Set rounding mode (0 nearest, 1 zero, 2 down, 3 up; 4 is set as nearest) and flags."""
        x86 = machine() == "x86_64"
        if not x86 and machine() != "aarch64":
            raise UnsupportedHost("floating-point control")
        modes, places = (0x9C, [5, 4, 3, 2, 0]) if x86 else (0x6C, [4, 3, 2, 1, 0])
        shift = self.value(f"shl i32 {self.value(f'and i32 {rounding}, 7')}, 1")
        mode = self.value(f"and i32 {self.value(f'lshr i32 {modes}, {shift}')}, 3")
        state = "0"
        for position, place in enumerate(places):
            bit = self.value(f"and i32 {self.value(f'lshr i32 {flags}, {position}')}, 1")
            state = self.value(f"or i32 {state}, {self.value(f'shl i32 {bit}, {place}')}")
        if x86:  # all exceptions masked: 0x1F80
            control = self.value(f"or i32 {state}, {self.value(f'shl i32 {mode}, 13')}")
            slot = self._slot()
            self.line(f"store i32 {self.value(f'or i32 {control}, 8064')}, ptr {slot}")
            self.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {slot}){self.strict}")
            return
        self.line(f"call void @llvm.aarch64.set.fpsr(i64 {self.value(f'zext i32 {state} to i64')}){self.strict}")
        wide = self.value(f"zext i32 {self.value(f'shl i32 {mode}, 22')} to i64")
        self.line(f"call void @llvm.aarch64.set.fpcr(i64 {wide}){self.strict}")


def _local(name: str) -> str:
    return f'%"v.{name}"'


def _double() -> FloatType:
    from gasang.native.types import f64

    return f64


def _float_text(value: float) -> str:
    return f"0x{bits_of(_double(), value):016X}"


def _suffix(kind: Type) -> str:
    return f".f{kind.size * 8}" if isinstance(kind, FloatType) else f".{kind.llvm}"


def _memory_type(kind: Type) -> str:
    if isinstance(kind, (StructType, ArrayType)):
        return f"[{kind.size} x i8]"
    return "i8" if kind is boolean else kind.llvm
