"""From a function's source text to the typed tree: every rule of docs/reference/native.md is checked here, once, for both back ends."""

from __future__ import annotations

import ast
import enum
import operator
from typing import Any, NoReturn

from gasang.native import tree
from gasang.native.errors import Fault, NativeError
from gasang.native.intrinsics import INTRINSICS, Intrinsic
from gasang.native.names import IntrinsicName, Null
from gasang.native.types import (
    ArrayType,
    FloatType,
    FunctionType,
    IntType,
    PointerType,
    StructType,
    Type,
    boolean,
    i64,
    null_type,
    ptr,
    u64,
)

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Div: "div",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
}  # fmt: skip
_FLOAT_OPERATORS = ("add", "sub", "mul", "div")
_BOOLEAN_OPERATORS = ("and", "or", "xor")
_FOLD: dict[type[ast.AST], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.USub: operator.neg, ast.Invert: operator.invert, ast.UAdd: operator.pos, ast.Div: operator.truediv,
}  # fmt: skip
_MISSING = object()


class Checker:
    """Checks one function. `namespace` is what its free names mean."""

    def __init__(
        self, definition: ast.FunctionDef, namespace: dict[str, Any], file: str, signature: tuple[list[tuple[str, Type]], Type | None], may_fault: bool
    ) -> None:
        self.definition = definition
        self.namespace = namespace
        self.file = file
        self.may_fault = may_fault
        parameters, result = signature
        self.function = tree.TypedFunction(definition.name, parameters, result, [], dict(parameters))
        self.loops = 0
        self.line = definition.lineno

    def check(self) -> tree.TypedFunction:
        """The typed tree, or NativeError."""
        body = self.definition.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            body = body[1:]
        self.function.body = self.statements(body)
        if self.function.result is not None and not ends(self.function.body):
            self.refuse(self.definition, "a path through the function returns nothing")
        return self.function

    def refuse(self, node: ast.AST, rule: str) -> NoReturn:
        raise NativeError(self.file, getattr(node, "lineno", self.line), rule)

    # ------------------------------------------------------------------ statements

    def statements(self, nodes: list[ast.stmt]) -> list[tree.Statement]:
        made: list[tree.Statement] = []
        for node in nodes:
            self.line = node.lineno
            handler = getattr(self, "statement_" + type(node).__name__, None)
            if handler is None:
                self.refuse(node, f"{type(node).__name__} is no native statement")
            statement = handler(node)
            if statement is not None:
                made.append(statement)
        return made

    def statement_Pass(self, node: ast.Pass) -> None:  # noqa: N802 - named after the node
        return None

    def statement_AnnAssign(self, node: ast.AnnAssign) -> tree.Statement:  # noqa: N802
        if not isinstance(node.target, ast.Name):
            self.refuse(node, "only a local variable can be annotated")
        kind = self.type_of(node.annotation)
        if node.value is None:
            self.refuse(node, "a local needs a value")
        return self.assign_local(node, node.target.id, self.expression(node.value, kind), kind)

    def statement_Assign(self, node: ast.Assign) -> tree.Statement:  # noqa: N802
        if len(node.targets) != 1:
            self.refuse(node, "one target an assignment")
        target = node.targets[0]
        if isinstance(target, ast.Name):
            value = self.expression(node.value, self.function.local_types.get(target.id))
            return self.assign_local(node, target.id, value, value.type)
        place = self.place(target)
        return tree.Store(node.lineno, place, self.expected(node, self.expression(node.value, place.type.target), place.type.target))

    def statement_AugAssign(self, node: ast.AugAssign) -> tree.Statement:  # noqa: N802
        symbol = _ARITHMETIC.get(type(node.op)) or self.refuse(node, "unknown operator")
        if isinstance(node.target, ast.Name):
            left = self.expression(ast.copy_location(ast.Name(node.target.id, ast.Load()), node), None)
            value = self.arithmetic(node, symbol, left, self.operand(node.value, left.type))
            return self.assign_local(node, node.target.id, value, value.type)
        place = self.place(node.target)
        loaded = tree.Load(place.type.target, place)
        return tree.Store(node.lineno, place, self.arithmetic(node, symbol, loaded, self.operand(node.value, loaded.type)))

    def operand(self, node: ast.expr, left: Type) -> tree.Expression:
        return self.expression(node, u64 if isinstance(left, PointerType) else left)

    def assign_local(self, node: ast.AST, name: str, value: tree.Expression, kind: Type) -> tree.Statement:
        if value.type is None:
            self.refuse(node, "the call gives no result")
        known = self.function.local_types.get(name)
        if known is not None and known != kind:
            self.refuse(node, f"{name} is {known}, not {kind}: one name, one type")
        if isinstance(kind, (StructType, ArrayType)):
            self.refuse(node, f"{name} would be a whole {kind}: take its address with ref(…)")
        self.function.local_types[name] = kind
        return tree.Assign(node.lineno, name, self.expected(node, value, kind))  # type: ignore[attr-defined]

    def statement_If(self, node: ast.If) -> tree.Statement:  # noqa: N802
        return tree.If(node.lineno, self.condition(node.test), self.statements(node.body), self.statements(node.orelse))

    def statement_While(self, node: ast.While) -> tree.Statement:  # noqa: N802
        if node.orelse:
            self.refuse(node, "while has no else")
        test = self.condition(node.test)
        return tree.While(node.lineno, test, self.loop_body(node.body))

    def loop_body(self, nodes: list[ast.stmt]) -> list[tree.Statement]:
        self.loops += 1
        body = self.statements(nodes)
        self.loops -= 1
        return body

    def statement_For(self, node: ast.For) -> tree.Statement:  # noqa: N802
        call = node.iter
        is_range = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"
        if node.orelse or not is_range or not isinstance(node.target, ast.Name):
            self.refuse(node, "write: for NAME in range(…)")
        assert isinstance(call, ast.Call)
        arguments = list(call.args)
        step = 1
        if len(arguments) == 3:
            constant = self.constant(arguments.pop())
            if not isinstance(constant, int) or constant == 0:
                self.refuse(node, "the step of a range is an integer literal other than 0")
            step = constant
        start_node = arguments[0] if len(arguments) == 2 else ast.copy_location(ast.Constant(0), node)
        stop_node = arguments[-1]
        kind = self.function.local_types.get(node.target.id)
        if kind is None:
            typed = next((argument for argument in arguments if self.constant(argument) is _MISSING), None)
            kind = u64 if typed is None else self.expression(typed, None).type
        if not isinstance(kind, IntType):
            self.refuse(node, "a range is of integers")
        start, stop = (self.expected(node, self.expression(part, kind), kind) for part in (start_node, stop_node))
        self.function.local_types[node.target.id] = kind
        return tree.For(node.lineno, node.target.id, start, stop, step, self.loop_body(node.body))

    def statement_Break(self, node: ast.Break) -> tree.Statement:  # noqa: N802
        return tree.Break(node.lineno)

    def statement_Continue(self, node: ast.Continue) -> tree.Statement:  # noqa: N802
        return tree.Continue(node.lineno)

    def statement_Return(self, node: ast.Return) -> tree.Statement:  # noqa: N802
        result = self.function.result
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            if result is not None:
                self.refuse(node, f"the function returns {result}")
            return tree.Return(node.lineno, None)
        if isinstance(node.value, ast.Call) and self.meaning(node.value.func, "") == "tail_call":
            return self.tail_return(node, node.value)
        if result is None:
            self.refuse(node, "the function returns nothing")
        return tree.Return(node.lineno, self.expected(node, self.expression(node.value, result), result))

    def tail_return(self, node: ast.Return, call: ast.Call) -> tree.Statement:
        inner = ast.copy_location(ast.Call(call.args[0], call.args[1:], []), call)
        made = self.call(inner)
        if not isinstance(made, (tree.Call, tree.PointerCall)) or made.type != self.function.result:
            self.refuse(node, "tail_call takes a native function or function pointer of the same result")
        return tree.TailReturn(node.lineno, made)

    def statement_Raise(self, node: ast.Raise) -> tree.Statement:  # noqa: N802
        if not isinstance(node.exc, ast.Name) or self.namespace.get(node.exc.id) is not Fault or node.cause is not None:
            self.refuse(node, "only `raise Fault`")
        if not self.may_fault:
            self.refuse(node, "only a function marked may_fault=True raises Fault")
        return tree.RaiseFault(node.lineno)

    def statement_Expr(self, node: ast.Expr) -> tree.Statement:  # noqa: N802
        if isinstance(node.value, ast.Constant):
            return None  # type: ignore[return-value]
        if not isinstance(node.value, ast.Call):
            self.refuse(node, "the value is not used")
        return tree.Evaluate(node.lineno, self.expression(node.value, None))

    # ------------------------------------------------------------------ expressions

    def condition(self, node: ast.expr) -> tree.Expression:
        return self.expected(node, self.expression(node, boolean), boolean)

    def expected(self, node: ast.AST, value: tree.Expression, kind: Type) -> tree.Expression:
        if value.type == kind:
            return value
        if value.type == null_type and isinstance(kind, (PointerType, FunctionType)):
            return tree.Constant(kind, 0)
        self.refuse(node, f"{kind} is needed, this is {value.type}")

    def expression(self, node: ast.expr, want: Type | None) -> tree.Expression:
        constant = self.constant(node)
        if constant is not _MISSING:
            return self.literal(node, constant, want)
        handler = getattr(self, "expression_" + type(node).__name__, None)
        if handler is None:
            self.refuse(node, f"{type(node).__name__} is no native expression")
        made: tree.Expression = handler(node, want)
        return made

    def literal(self, node: ast.expr, value: Any, want: Type | None) -> tree.Expression:
        if isinstance(value, Null):
            return tree.Constant(want if isinstance(want, (PointerType, FunctionType)) else null_type, 0)
        if isinstance(value, bool) and not (isinstance(want, IntType) and want is not boolean):
            return tree.Constant(boolean, value)
        if isinstance(value, float) or isinstance(want, FloatType):
            kind = want if isinstance(want, FloatType) else self.refuse(node, "a float literal needs a type: annotate it or convert it")
            return tree.Constant(kind, kind.wrap(float(value)))
        if want is None or not isinstance(want, IntType):
            self.refuse(node, f"the literal {value} needs an integer type, not {want}: annotate it or convert it")
        if not want.contains(int(value)):
            self.refuse(node, f"{value} does not fit {want}")
        return tree.Constant(want, int(value))

    def constant(self, node: ast.expr) -> Any:
        """The value of an expression of literals and module constants, or _MISSING."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in _FOLD:
            left, right = self.constant(node.left), self.constant(node.right)
            if left is _MISSING or right is _MISSING:
                return _MISSING
            return _FOLD[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _FOLD:
            operand = self.constant(node.operand)
            return _MISSING if operand is _MISSING else _FOLD[type(node.op)](operand)
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.static(node)
            if isinstance(value, enum.Enum):
                value = value.value
            if isinstance(value, (int, float, Null)):
                return value
        return _MISSING

    def static(self, node: ast.expr) -> Any:
        """The Python object a name or dotted name means outside the function, or _MISSING."""
        if isinstance(node, ast.Name):
            return _MISSING if node.id in self.function.local_types else self.namespace.get(node.id, _MISSING)
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            return _MISSING if base is _MISSING or isinstance(base, Type) else getattr(base, node.attr, _MISSING)
        return _MISSING

    def meaning(self, node: ast.expr, otherwise: str) -> str:
        value = self.static(node)
        return value.name if isinstance(value, IntrinsicName) else otherwise

    def type_of(self, node: ast.expr) -> Type:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.Subscript) and self.static(node.value) is ptr:
            return ptr[self.type_of(node.slice)]
        value = self.static(node)
        if not isinstance(value, Type):
            self.refuse(node, f"{ast.unparse(node)} is no native type")
        return value

    def expression_Name(self, node: ast.Name, want: Type | None) -> tree.Expression:  # noqa: N802
        kind = self.function.local_types.get(node.id)
        if kind is None:
            self.refuse(node, f"{node.id} is not known here")
        return tree.Local(kind, node.id)

    def expression_Attribute(self, node: ast.Attribute, want: Type | None) -> tree.Expression:  # noqa: N802
        return self.load(self.place(node))

    expression_Subscript = expression_Attribute  # noqa: N815

    def load(self, place: tree.Expression) -> tree.Expression:
        target = place.type.target
        if isinstance(target, StructType):
            return place  # a nested struct is used through its address
        if isinstance(target, ArrayType):
            return tree.Convert(ptr[target.element], place)
        return tree.Load(target, place)

    def place(self, node: ast.expr) -> tree.Expression:
        """The address an lvalue names, as an expression of pointer type."""
        if isinstance(node, ast.Subscript):
            base = self.pointer(node.value)
            return tree.Offset(base.type, base, self.index(node.slice))
        if isinstance(node, ast.Attribute):
            base = self.pointer(node.value)
            fields = getattr(base.type.target, "fields", {})
            if node.attr not in fields:
                self.refuse(node, f"{base.type.target} has no field {node.attr}")
            field = fields[node.attr]
            return tree.FieldAddress(ptr[field.type], base, field)
        self.refuse(node, f"{ast.unparse(node)} is no place in memory")

    def pointer(self, node: ast.expr) -> tree.Expression:
        value = self.expression(node, None)
        if not isinstance(value.type, PointerType) or value.type.target is None:
            self.refuse(node, f"{ast.unparse(node)} is {value.type}, no pointer")
        return value

    def index(self, node: ast.expr) -> tree.Expression:
        value = self.expression(node, i64)
        if not isinstance(value.type, IntType) or value.type.bits > 64 or value.type is boolean:
            self.refuse(node, f"an index is an integer, not {value.type}")
        return value

    def expression_BinOp(self, node: ast.BinOp, want: Type | None) -> tree.Expression:  # noqa: N802
        symbol = _ARITHMETIC.get(type(node.op)) or self.refuse(node, f"no operator {type(node.op).__name__}")
        if self.constant(node.left) is not _MISSING:
            right = self.expression(node.right, want)
            return self.arithmetic(node, symbol, self.expression(node.left, right.type), right)
        left = self.expression(node.left, want)
        if isinstance(left.type, PointerType):
            return self.pointer_arithmetic(node, symbol, left)
        return self.arithmetic(node, symbol, left, self.expression(node.right, left.type))

    def pointer_arithmetic(self, node: ast.BinOp, symbol: str, left: tree.Expression) -> tree.Expression:
        index = self.index(node.right)
        if symbol == "sub":
            index = tree.Unary(i64, "neg", index if index.type is i64 else tree.Convert(i64, index))
        elif symbol != "add":
            self.refuse(node, "a pointer moves by + and - only")
        return tree.Offset(left.type, left, index)

    def arithmetic(self, node: ast.AST, symbol: str, left: tree.Expression, right: tree.Expression) -> tree.Expression:
        kind = left.type
        if isinstance(kind, PointerType) and symbol in ("add", "sub"):
            index = right if symbol == "add" else tree.Unary(i64, "neg", tree.Convert(i64, right))
            return tree.Offset(kind, left, index)
        if kind != right.type:
            self.refuse(node, f"{kind} and {right.type} do not mix: convert one")
        allowed = isinstance(kind, FloatType) and symbol in _FLOAT_OPERATORS
        allowed |= isinstance(kind, IntType) and kind is not boolean and symbol != "div"
        allowed |= kind is boolean and symbol in _BOOLEAN_OPERATORS
        if not allowed:
            self.refuse(node, f"no {symbol} for {kind}")
        return tree.Binary(kind, symbol, left, right)

    def expression_UnaryOp(self, node: ast.UnaryOp, want: Type | None) -> tree.Expression:  # noqa: N802
        if isinstance(node.op, ast.Not):
            return tree.Unary(boolean, "not", self.condition(node.operand))
        operand = self.expression(node.operand, want)
        name = {ast.USub: "neg", ast.Invert: "invert"}.get(type(node.op))
        is_number = isinstance(operand.type, IntType) and operand.type is not boolean
        if name is None or not (is_number or (name == "neg" and isinstance(operand.type, FloatType))):
            self.refuse(node, f"no such operation on {operand.type}")
        return tree.Unary(operand.type, name, operand)

    def expression_BoolOp(self, node: ast.BoolOp, want: Type | None) -> tree.Expression:  # noqa: N802
        name = "and" if isinstance(node.op, ast.And) else "or"
        result = self.condition(node.values[0])
        for value in node.values[1:]:
            result = tree.Logic(boolean, name, result, self.condition(value))
        return result

    def expression_Compare(self, node: ast.Compare, want: Type | None) -> tree.Expression:  # noqa: N802
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            self.refuse(node, "one comparison at a time, of ==, !=, <, <=, >, >=")
        name, right_node = _COMPARISONS[type(node.ops[0])], node.comparators[0]
        if self.constant(node.left) is not _MISSING and self.constant(right_node) is _MISSING:
            right = self.expression(right_node, None)
            left = self.expected(node, self.expression(node.left, right.type), right.type)
        else:
            left = self.expression(node.left, None)
            right = self.expected(node, self.expression(right_node, left.type), left.type)
        return tree.Compare(boolean, name, left, right)

    def expression_IfExp(self, node: ast.IfExp, want: Type | None) -> tree.Expression:  # noqa: N802
        test = self.condition(node.test)
        if self.constant(node.body) is not _MISSING and want is None:
            other = self.expression(node.orelse, want)
            then = self.expression(node.body, other.type)
        else:
            then = self.expression(node.body, want)
            other = self.expression(node.orelse, then.type)
        return tree.Select(then.type, test, then, self.expected(node, other, then.type))

    # ------------------------------------------------------------------ calls

    def expression_Call(self, node: ast.Call, want: Type | None) -> tree.Expression:  # noqa: N802
        if node.keywords:
            self.refuse(node, "native calls take positional arguments")
        callee = self.static(node.func)
        if isinstance(callee, (IntType, FloatType)):
            return self.conversion(node, callee)
        if isinstance(callee, IntrinsicName):
            special = getattr(self, "special_" + callee.name, None)
            if special is not None:
                return special(node)  # type: ignore[no-any-return]
            return self.intrinsic(node, INTRINSICS[callee.name])
        return self.call(node)

    def call(self, node: ast.Call) -> tree.Expression:
        from gasang.native.function import NativeFunction

        callee = self.static(node.func)
        if isinstance(callee, NativeFunction):
            parameters = [kind for _, kind in callee.parameters]
            if callee.may_fault and not self.may_fault:
                self.refuse(node, f"{callee.name} may fault: mark this function may_fault=True or use attempt(…)")
            self.function.callees.append(callee)
            return tree.Call(callee.result, callee, self.arguments(node, callee.name, node.args, parameters))
        if callee is _MISSING:
            pointer = self.expression(node.func, None)
            if isinstance(pointer.type, FunctionType):
                arguments = self.arguments(node, "the function pointer", node.args, list(pointer.type.parameters))
                return tree.PointerCall(pointer.type.result, pointer, arguments)
        self.refuse(node, f"{ast.unparse(node.func)} is no native function")

    def arguments(self, node: ast.AST, name: str, given: list[ast.expr], kinds: list[Any]) -> list[tree.Expression]:
        if len(given) != len(kinds):
            self.refuse(node, f"{name} takes {len(kinds)} arguments, {len(given)} given")
        return [self.expected(part, self.expression(part, kind), kind) for part, kind in zip(given, kinds, strict=True)]

    def conversion(self, node: ast.Call, kind: IntType | FloatType) -> tree.Expression:
        if len(node.args) != 1:
            self.refuse(node, f"{kind}(…) takes one value")
        constant = self.constant(node.args[0])
        if constant is not _MISSING:
            return tree.Constant(kind, kind(constant))
        operand = self.expression(node.args[0], None)
        if isinstance(operand.type, (PointerType, FunctionType)) and kind is not u64:
            self.refuse(node, "an address converts to u64")
        if isinstance(operand.type, (StructType, ArrayType)) or operand.type is None:
            self.refuse(node, f"{operand.type} does not convert to {kind}")
        return operand if operand.type == kind else tree.Convert(kind, operand)

    def intrinsic(self, node: ast.Call, row: Intrinsic) -> tree.Expression:
        given = list(node.args)
        type_argument = self.type_of(given.pop(0)) if row.takes_type else None
        rules = list(row.arguments)
        if rules and rules[-1].startswith("…"):
            rules = rules[:-1] + [rules[-1][1:]] * (len(given) - len(rules) + 1)
        if len(given) != len(rules):
            self.refuse(node, f"{row.name} takes {len(rules)} arguments, {len(given)} given")
        made: list[tree.Expression] = []
        for part, rule in zip(given, rules, strict=True):
            made.append(self.intrinsic_argument(row, part, rule, made))
        return tree.IntrinsicCall(self.intrinsic_result(row, made, type_argument), row, made, type_argument)

    def intrinsic_argument(self, row: Intrinsic, node: ast.expr, rule: str, before: list[tree.Expression]) -> tree.Expression:
        if rule in ("same", "target"):
            kind = before[0].type if rule == "same" else before[0].type.target
            return self.expected(node, self.expression(node, kind), kind)
        families: dict[str, tuple[type, ...]] = {"int": (IntType,), "float": (FloatType,), "number": (IntType, FloatType), "pointer": (PointerType,)}
        if rule in families:
            value = self.expression(node, None)
            if not isinstance(value.type, families[rule]) or value.type is boolean:
                self.refuse(node, f"{row.name} takes {rule}, not {value.type}")
            return value
        kind = _NAMED[rule]
        return self.expected(node, self.expression(node, kind), kind)

    def intrinsic_result(self, row: Intrinsic, made: list[tree.Expression], type_argument: Any) -> Any:
        if row.result == "none":
            return None
        if row.result == "same":
            return made[0].type
        if row.result == "target":
            return made[0].type.target
        return type_argument if row.result == "argument" else _NAMED[row.result]

    def special_ref(self, node: ast.Call) -> tree.Expression:
        place = self.place(node.args[0])
        if isinstance(place.type.target, ArrayType):
            return tree.Convert(ptr[place.type.target.element], place)
        return place

    def special_cast(self, node: ast.Call) -> tree.Expression:
        kind = self.type_of(node.args[0])
        value = self.expression(node.args[1], u64)
        if not isinstance(kind, (PointerType, FunctionType)) or not (value.type == u64 or isinstance(value.type, (PointerType, FunctionType))):
            self.refuse(node, "cast(ptr[T], x) takes a u64 or a pointer")
        return tree.Convert(kind, value)

    def special_address_of(self, node: ast.Call) -> tree.Expression:
        from gasang.native.function import NativeFunction

        callee = self.static(node.args[0])
        if not isinstance(callee, NativeFunction):
            self.refuse(node, "address_of takes a native function")
        self.function.callees.append(callee)
        return tree.FunctionAddress(callee.pointer_type, callee)

    def special_attempt(self, node: ast.Call) -> tree.Expression:
        before, self.may_fault = self.may_fault, True
        made = self.call(ast.copy_location(ast.Call(node.args[0], node.args[1:], []), node))
        self.may_fault = before
        if not isinstance(made, tree.Call) or made.type is not None or not made.function.may_fault:
            self.refuse(node, "attempt takes a native function that may fault and gives no result")
        made.attempted = True
        made.type = boolean
        return made

    def special_tail_call(self, node: ast.Call) -> tree.Expression:
        self.refuse(node, "write: return tail_call(…)")


def _named_types() -> dict[str, Type]:
    from gasang.native import types

    named: dict[str, Type] = {name: getattr(types, name) for name in ("u8", "u16", "u32", "u64", "i32", "i64", "f32", "f64", "boolean")}
    named["ptr[u8]"] = ptr[types.u8]
    return named


_NAMED: dict[str, Type] = _named_types()


def ends(body: list[tree.Statement]) -> bool:
    """Whether control never runs off the end of these statements."""
    if not body:
        return False
    last = body[-1]
    if isinstance(last, (tree.Return, tree.TailReturn, tree.RaiseFault)):
        return True
    if isinstance(last, tree.If):
        return ends(last.body) and ends(last.orelse)
    if isinstance(last, tree.While) and isinstance(last.test, tree.Constant) and last.test.value:
        return not has_break(last.body)
    return False


def has_break(body: list[tree.Statement]) -> bool:
    """Whether a loop's body leaves that loop by `break`."""
    for statement in body:
        if isinstance(statement, tree.Break):
            return True
        if isinstance(statement, tree.If) and (has_break(statement.body) or has_break(statement.orelse)):
            return True
    return False
