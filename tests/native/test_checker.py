"""Each rule of docs/reference/native.md, broken: the error names file, line and rule."""

import enum
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gasang.native
from gasang.native import NativeError, function_type, native, native_from_source, struct, u64
from support.native_twins import NAMESPACE

HERE = "broken.py"


@struct
class Pair:
    first: u64
    second: u64


class Level(enum.Enum):
    LOW = 1
    WORD = "high"


SPACE: dict[str, Any] = {
    **NAMESPACE,
    "Pair": Pair,
    "Level": Level,
    "LIMIT": 40,
    "HALF": 0.5,
    "TEXT": "text",
    "Step": function_type([u64], u64),
    "Other": function_type([u64], u64, "preserve_none"),
    "print": print,
}
SPACE["twice"] = native_from_source("def twice(x: u64) -> u64:\n    return x * 2", SPACE)
SPACE["silent"] = native_from_source("def silent(x: u64) -> None:\n    pass", SPACE)
SPACE["faulty"] = native_from_source("def faulty(x: u64) -> None:\n    raise Fault", SPACE, may_fault=True)
SPACE["faulty_value"] = native_from_source("def faulty_value(x: u64) -> u64:\n    raise Fault", SPACE, may_fault=True)

# A body for HEAD, the line of it that is wrong ending in `#`; then what the error says of it.
BODIES: list[tuple[str, str]] = [
    # 1: both sides of an operator have the same type
    ("return x + y  #", "u64 and u32 do not mix: convert one"),
    ("return x + s  #", "u64 and i64 do not mix"),
    ("return x + d  #", "u64 and f64 do not mix"),
    ("z = d + e  #\nreturn x", "f64 and f32 do not mix"),
    ("return x + flag  #", "u64 and boolean do not mix"),
    ("return x + True  #", "u64 and boolean do not mix"),
    ("return y  #", "u64 is needed, this is u32"),
    ("return flag  #", "u64 is needed, this is boolean"),
    ("return p  #", "u64 is needed, this is ptr[u64]"),
    ("return u64(y + 4294967296)  #", "4294967296 does not fit u32"),
    ("return x + -1  #", "-1 does not fit u64"),
    ("return x + 1.5  #", "the literal 1.5 needs a float type, not u64"),
    ("z = d + 1e999 * 0 + 10**400  #\nreturn x", "no operator Pow"),
    (f"z = e + {10**60}  #\nreturn x", "does not fit f32"),
    (f"z = d + {10**400}  #\nreturn x", "does not fit f64"),
    ("return x + 'a'  #", "'a' (Constant) is no native expression"),
    ("return x + TEXT  #", "TEXT is a str of the module: only its numbers and native functions can be used"),
    ("return x + Level.WORD  #", "Level is a Enum"),
    ("return x / 2  #", "no / for u64"),
    ("return x ** 2  #", "no operator Pow"),
    ("return x @ x  #", "no operator MatMult"),
    ("x **= 2  #\nreturn x", "no operator Pow"),
    ("z = d % 2.0  #\nreturn x", "no % for f64"),
    ("z = d // 2.0  #\nreturn x", "no // for f64"),
    ("z = d & d  #\nreturn x", "no & for f64"),
    ("z = flag + flag  #\nreturn x", "no + for boolean"),
    ("z = -flag  #\nreturn x", "no USub for boolean"),
    ("z = ~d  #\nreturn x", "no Invert for f64"),
    ("return +x  #", "no UAdd for u64"),
    ("return -p  #", "no USub for ptr[u64]"),
    ("return x + 5 // 0  #", "the constant 5 // 0 has no value"),
    ("return x + (1 << -1)  #", "the constant 1 << -1 has no value: negative shift count"),
    ("return x + (1 << 99999)  #", "a constant shifted by 99999"),
    ("return x + (LIMIT & HALF)  #", "has no value"),
    # 2: a local's type is that of its first assignment
    ("n = 0  #\nreturn x", "the literal 0 needs an integer type: annotate it or convert it"),
    ("n = 0.5  #\nreturn x", "the literal 0.5 needs a float type: annotate it or convert it"),
    ("n = LIMIT  #\nreturn x", "the literal 40 needs an integer type"),
    ("n = null  #\nreturn x", "annotate it"),
    ("n: u64 = y  #\nreturn x", "u64 is needed, this is u32"),
    ("n: u32 = y\nn: u64 = x  #\nreturn x", "n is u32, not u64: one name, one type"),
    ("n = y\nn = x  #\nreturn x", "u32 is needed, this is u64"),
    ("x = y  #\nreturn x", "u64 is needed, this is u32"),
    ("n: u64  #\nreturn x", "a local needs a value"),
    ("n: int = 5  #\nreturn x", "int is no native type"),
    ("n: Pair = q  #\nreturn x", "a whole Pair is no value: take ptr[Pair]"),
    ("n: array[u64] = p  #\nreturn x", "array[u64] is no native type"),
    ("q.first: u64 = x  #\nreturn x", "only a local variable can be annotated"),
    ("n = silent(x)  #\nreturn x", "silent(x) gives no result"),
    ("return n  #\nn: u64 = 5", "n has no value yet"),
    ("n += 1  #\nreturn x", "n has no value yet"),
    ("return nothing  #", "nothing is not known here"),
    ("if flag:\n    n = x\nreturn n  #", "n may have no value here"),
    ("for i in range(x):\n    n = i\nreturn n  #", "n may have no value here"),
    ("for i in range(x):\n    pass\nreturn i  #", "i may have no value here"),
    ("while flag:\n    n = x\n    flag = False\nreturn n  #", "n may have no value here"),
    ("while True:\n    if flag:\n        break\n    n = x\nreturn n  #", "n may have no value here"),
    ("if flag:\n    n = x\nelse:\n    silent(x)\nif flag:\n    p[n] = 1  #\nreturn x", "n may have no value here"),
    # 5: comparisons and booleans
    ("return u64(1 < x < 5)  #", "one comparison at a time"),
    ("return u64(x is y)  #", "one comparison at a time"),
    ("return u64(x in p)  #", "one comparison at a time"),
    ("return u64(x < y)  #", "u64 is needed, this is u32"),
    ("return u64(3 < 4)  #", "the literal 3 needs an integer type"),
    ("return u64(x == null)  #", "u64 is needed, this is null"),
    ("return u64(p == q)  #", "ptr[u64] is needed, this is ptr[Pair]"),
    ("return u64(p == 0)  #", "the literal 0 needs an integer type, not ptr[u64]"),
    ("return x and x  #", "boolean is needed, this is u64"),
    ("return u64(not x)  #", "boolean is needed, this is u64"),
    ("return u64(flag or x)  #", "boolean is needed, this is u64"),
    ("return 1 if x else 2  #", "boolean is needed, this is u64"),
    ("return x if flag else y  #", "u64 is needed, this is u32"),
    ("if x:  #\n    pass\nreturn x", "boolean is needed, this is u64"),
    ("while 1:  #\n    pass", "the literal 1 needs an integer type, not boolean"),
    ("flag = 1  #\nreturn x", "the literal 1 needs an integer type, not boolean"),
    # 6: statements
    ("with flag:  #\n    pass\nreturn x", "With is no native statement"),
    ("try:  #\n    pass\nfinally:\n    pass\nreturn x", "Try is no native statement"),
    ("assert flag  #\nreturn x", "Assert is no native statement"),
    ("del x  #\nreturn x", "Delete is no native statement"),
    ("global LIMIT  #\nreturn x", "Global is no native statement"),
    ("import os  #\nreturn x", "Import is no native statement"),
    ("def g() -> None:  #\n    pass\nreturn x", "FunctionDef is no native statement"),
    ("match x:  #\n    case _:\n        pass\nreturn x", "Match is no native statement"),
    ("x + 1  #\nreturn x", "the value is not used"),
    ("a = b = x  #\nreturn x", "one target an assignment"),
    ("a, b = x, x  #\nreturn x", "(a, b) is no place in memory"),
    ("return (a := x)  #", "NamedExpr"),
    ("return [x][0]  #", "[x] (List) is no native expression"),
    ("return (lambda: x)()  #", "Lambda"),
    ("return f'{x}'  #", "JoinedStr"),
    ("for i in p:  #\n    pass\nreturn x", "write: for NAME in range(…)"),
    ("for p[0] in range(x):  #\n    pass\nreturn x", "write: for NAME in range(…)"),
    ("for i in range(x):  #\n    pass\nelse:\n    pass\nreturn x", "write: for NAME in range(…)"),
    ("for i in range(stop=x):  #\n    pass\nreturn x", "write: for NAME in range(…)"),
    ("for i in range():  #\n    pass\nreturn x", "range takes 1 to 3 arguments, 0 given"),
    ("for i in range(x, x, 1, 1):  #\n    pass\nreturn x", "range takes 1 to 3 arguments, 4 given"),
    ("for i in range(0, x, 0):  #\n    pass\nreturn x", "the step of a range is an integer literal other than 0"),
    ("for i in range(0, x, x):  #\n    pass\nreturn x", "the step of a range is an integer literal other than 0"),
    ("for i in range(0, x, True):  #\n    pass\nreturn x", "the step of a range is an integer literal other than 0"),
    ("for i in range(x, y):  #\n    pass\nreturn x", "u64 is needed, this is u32"),
    ("for i in range(flag):  #\n    pass\nreturn x", "a range is of integers, not boolean"),
    ("for i in range(d):  #\n    pass\nreturn x", "a range is of integers, not f64"),
    ("for y in range(x):  #\n    pass\nreturn x", "u32 is needed, this is u64"),
    ("for i in range(10, -1, -1):  #\n    pass\nreturn x", "-1 does not fit u64"),
    ("while flag:  #\n    pass\nelse:\n    pass\nreturn x", "while has no else"),
    ("break  #\nreturn x", "break outside a loop"),
    ("if flag:\n    continue  #\nreturn x", "continue outside a loop"),
    ("return  #", "the function returns u64"),
    ("return None  #", "the function returns u64"),
    ("if flag:\n    return x", "a path through the function returns nothing"),
    ("while True:\n    break", "a path through the function returns nothing"),
    ("raise Fault  #", "only a function marked may_fault=True raises Fault"),
    ("raise ValueError  #", "only `raise Fault`"),
    ("raise Fault from None  #", "only `raise Fault`"),
    ("raise  #", "only `raise Fault`"),
    # 7: pointers
    ("return x[0]  #", "x is u64, no pointer"),
    ("return x.first  #", "x is u64, no pointer"),
    ("return p.first  #", "u64 has no field first"),
    ("return q.third  #", "Pair has no field third"),
    ("return null[0]  #", "null is null, no pointer"),
    ("return p[d]  #", "an index is an integer of at most 64 bits, not f64"),
    ("return p[flag]  #", "an index is an integer of at most 64 bits, not boolean"),
    ("return p[u128(x)]  #", "an index is an integer of at most 64 bits, not u128"),
    ("return p[0:1]  #", "Slice"),
    ("p += flag  #\nreturn x", "an index is an integer of at most 64 bits, not boolean"),
    ("p -= q  #\nreturn x", "an index is an integer of at most 64 bits, not ptr[Pair]"),
    ("return u64(p * 2)  #", "ptr[u64] moves by + and - only"),
    ("return u64(p - p)  #", "an index is an integer of at most 64 bits, not ptr[u64]"),
    ("return u64(1 + p)  #", "the literal 1 needs an integer type, not ptr[u64]"),
    ("p[0] = y  #\nreturn x", "u64 is needed, this is u32"),
    ("q[0] = q  #\nreturn x", "Pair is needed, this is ptr[Pair]"),
    ("x.y = 1  #\nreturn x", "x is u64, no pointer"),
    ("return u64(ref(x))  #", "x is no place in memory"),
    ("return u64(ref(x + 1))  #", "x + 1 is no place in memory"),
    ("return u64(ref())  #", "ref takes 1 argument, 0 given"),
    ("return u64(cast(ptr[u8], y))  #", "cast makes a pointer of a u64 or a pointer, not ptr[u8] of u32"),
    ("return u64(cast(u64, p))  #", "cast makes a pointer of a u64 or a pointer, not u64 of ptr[u64]"),
    ("return u64(cast(ptr[u8]))  #", "cast takes 2 arguments, 1 given"),
    ("return u64(cast(ptr[int], x))  #", "int is no native type"),
    ("return u64(u32(p))  #", "an address converts to u64"),
    ("z = f64(q)  #\nreturn x", "an address converts to u64"),
    # 9: calls
    ("return print(x)  #", "print is no native function"),
    ("return len(p)  #", "len is not known here"),
    ("return twice(x=x)  #", "native calls take positional arguments"),
    ("return twice()  #", "twice takes 1 argument, 0 given"),
    ("return twice(x, x)  #", "twice takes 1 argument, 2 given"),
    ("return twice(y)  #", "u64 is needed, this is u32"),
    ("return twice(*x)  #", "Starred"),
    ("return g(x, x)  #", "the function pointer takes 1 argument, 2 given"),
    ("return x(x)  #", "x is no native function"),
    ("return x + silent(x)  #", "silent(x) gives no result"),
    ("return u64(silent(x) == silent(x))  #", "silent(x) gives no result"),
    ("return silent(x) if flag else silent(x)  #", "silent(x) gives no result"),
    ("silent(silent(x))  #\nreturn x", "silent(x) gives no result"),
    ("return u64()  #", "u64(…) takes 1 argument, 0 given"),
    ("return u64(x, x)  #", "u64(…) takes 1 argument, 2 given"),
    ("return u64(address_of(x))  #", "address_of takes a native function"),
    ("return u64(address_of(faulty))  #", "faulty may fault, which a call through a pointer could not tell"),
    ("h: Other = address_of(twice)  #\nreturn x", "is needed, this is function"),
    # 10: faults
    ("faulty(x)  #\nreturn x", "faulty may fault: mark this function may_fault=True or use attempt(…)"),
    ("return u64(attempt(faulty_value, x))  #", "attempt takes a native function that may fault and gives no result"),
    ("return u64(attempt(silent, x))  #", "attempt takes a native function that may fault and gives no result"),
    ("return u64(attempt(g, x))  #", "attempt takes a native function that may fault and gives no result"),
    ("return u64(attempt())  #", "write: attempt(function, arguments…)"),
    ("return u64(attempt(faulty))  #", "faulty takes 1 argument, 0 given"),
    ("return u64(attempt(faulty, faulty_value(x)))  #", "faulty_value may fault"),
    # intrinsics
    ("return popcount(d)  #", "popcount takes an integer, not f64"),
    ("return u64(popcount(flag))  #", "popcount takes an integer, not boolean"),
    ("return popcount(5)  #", "the literal 5 needs an integer type"),
    ("return popcount()  #", "popcount takes 1 argument, 0 given"),
    ("return rotl(x, y)  #", "u64 is needed, this is u32"),
    ("z = sqrt(x)  #\nreturn x", "sqrt takes a float, not u64"),
    ("z = fma(d, d, e)  #\nreturn x", "f64 is needed, this is f32"),
    ("return bitcast(u64, e)  #", "f32 has not the width of u64"),
    ("return u64(bitcast(ptr[u8], x))  #", "or that is no number"),
    ("return u64(bitcast(boolean, u8(x)))  #", "or that is no number"),
    ("return bitcast(u64)  #", "bitcast takes 2 arguments, 1 given"),
    ("return bitcast()  #", "bitcast takes 2 arguments, 0 given"),
    ("return sizeof(x)  #", "x is no native type"),
    ("return load_unaligned(q)  #", "load_unaligned takes a pointer to a number or a pointer, not ptr[Pair]"),
    ("return load_unaligned(x)  #", "load_unaligned takes a pointer to a number or a pointer, not u64"),
    ("store_unaligned(p, y)  #\nreturn x", "u64 is needed, this is u32"),
    ("copy(p, p, x)  #\nreturn x", "ptr[u8] is needed, this is ptr[u64]"),
    ("return u64(atomic_add(cast(ptr[ptr[u8]], p), null))  #", "atomic_add takes a pointer to an integer, not ptr[ptr[u8]]"),
    ("z = atomic_load(cast(ptr[f64], p))  #\nreturn x", "atomic_load takes a pointer to an integer or a pointer, not ptr[f64]"),
    ("z = atomic_load(cast(ptr[boolean], p))  #\nreturn x", "atomic_load takes a pointer to an integer or a pointer, not ptr[boolean]"),
    ("return atomic_add(null, x)  #", "atomic_add takes a pointer to an integer, not null"),
    ("return compare_exchange(p, x, y)  #", "u64 is needed, this is u32"),
    ("return u64(syscall())  #", "syscall takes 1 argument, 0 given"),
    ("return u64(syscall(x, x, x, x, x, x, x, x))  #", "syscall takes 7 arguments, 8 given"),
    ("return u64(syscall(y))  #", "u64 is needed, this is u32"),
    ("return u64(likely(x))  #", "boolean is needed, this is u64"),
    # tail calls
    ("x = tail_call(twice, x)  #\nreturn x", "write: return tail_call(…)"),
    ("return tail_call()  #", "write: return tail_call(function, arguments…)"),
    ("return tail_call(twice, x=x)  #", "write: return tail_call(function, arguments…)"),
    ("return tail_call(twice, x)  #", "tail_call takes a function of the same parameters and result as this one"),
    ("return tail_call(g, x)  #", "tail_call takes a function of the same parameters and result as this one"),
]
HEAD = "def f(x: u64, y: u32, s: i64, d: f64, e: f32, flag: boolean, p: ptr[u64], q: ptr[Pair], g: Step) -> u64:\n"


@pytest.mark.parametrize(("body", "rule"), BODIES, ids=[body.split("\n")[0] for body, _ in BODIES])
def test_rules_of_bodies(body: str, rule: str) -> None:
    lines = body.split("\n")
    function = native_from_source(HEAD + "".join(f"    {line}\n" for line in lines), SPACE, file=HERE)
    with pytest.raises(NativeError) as caught:
        _ = function.tree
    wrong = next((number for number, line in enumerate(lines, 2) if line.endswith("#")), 1)
    assert caught.value.subject == f"{HERE}:{wrong}"
    assert rule in caught.value.cause


HEADS = [
    ("def f(x) -> u64:", "f: parameter x has no type"),
    ("def f(x: u64):", "f: write -> and the type returned, or None"),
    ("def f(x: int) -> u64:", "int is no native type"),
    ("def f(x: u64) -> int:", "int is no native type"),
    ("def f(x: Pair) -> u64:", "a whole Pair is no value: take ptr[Pair]"),
    ("def f(x: u64) -> Pair:", "a whole Pair is no value: take ptr[Pair]"),
    ("def f(x: ptr[array[u64]]) -> u64:", "array[u64] is no native type"),
    ("def f(x: u64 = 5) -> u64:", "f: native functions take positional parameters without defaults"),
    ("def f(*x: u64) -> u64:", "f: native functions take positional parameters without defaults"),
    ("def f(**x: u64) -> u64:", "f: native functions take positional parameters without defaults"),
    ("def f(x: u64, *, y: u64) -> u64:", "f: native functions take positional parameters without defaults"),
    ("def f(x: u64, /) -> u64:", "f: native functions take positional parameters without defaults"),
]


@pytest.mark.parametrize(("head", "rule"), HEADS, ids=[head for head, _ in HEADS])
def test_rules_of_signatures(head: str, rule: str) -> None:
    function = native_from_source(f"{head}\n    return x", SPACE, file=HERE)
    with pytest.raises(NativeError) as caught:
        function(1)
    assert caught.value.subject == f"{HERE}:1"
    assert rule in caught.value.cause


TAILS = [
    ({}, {"convention": "preserve_none"}),
    ({"convention": "preserve_none"}, {}),
    ({"may_fault": True}, {}),
]


@pytest.mark.parametrize(("own", "others"), TAILS)
def test_tail_calls_keep_convention_and_faults(own: dict[str, Any], others: dict[str, Any]) -> None:
    other = native_from_source("def other(x: u64) -> u64:\n    return x", SPACE, **others)
    function = native_from_source("def f(x: u64) -> u64:\n    return tail_call(other, x)", {**SPACE, "other": other}, **own)
    with pytest.raises(NativeError, match="tail_call takes a function of the same convention that may fault if this one may"):
        _ = function.tree


def test_result_of_nothing() -> None:
    function = native_from_source("def f(x: u64) -> None:\n    return x", SPACE, file=HERE)
    with pytest.raises(NativeError, match=r"broken.py:2: the function returns nothing"):
        _ = function.tree


MODULE = """
from gasang.native import native, u64

def maker():
    @native
    # a comment before the def
    def f(
        x: u64,
    ) -> u64:
        \'\'\'A docstring
that starts at the left edge.
        \'\'\'
        y: u64 = x
# a comment at the left edge
        return y + z
    return f
"""


def test_the_line_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "written.py"
    path.write_text(MODULE)
    space: dict[str, Any] = {}
    exec(compile(MODULE, str(path), "exec"), space)
    with pytest.raises(NativeError) as caught:
        space["maker"]()(1)
    wrong = MODULE.split("\n").index("        return y + z") + 1
    assert str(caught.value) == f"{path}:{wrong}: z is not known here"


TEXTS = [
    ("", "the text of one def is needed"),
    ("x = 5", "the text of one def is needed"),
    ("def f() -> None:\n    pass\ndef g() -> None:\n    pass", "the text of one def is needed"),
    ("async def f() -> None:\n    pass", "the text of one def is needed"),
    ("def f( -> None:", "no Python: "),
]


@pytest.mark.parametrize(("text", "rule"), TEXTS)
def test_source_texts(text: str, rule: str) -> None:
    with pytest.raises(NativeError, match=f"{HERE}:1: {rule}"):
        native_from_source(text, SPACE, file=HERE)


def test_calling_convention() -> None:
    with pytest.raises(NativeError, match=r"test_checker.py:\d+: no calling convention 'fast': there are c, preserve_none"):

        @native(convention="fast")
        def f(x: u64) -> u64:
            return x


def test_the_error_is_one_sentence() -> None:
    function = native_from_source("def f(x: u64) -> u32:\n    return x", SPACE, file=HERE)
    with pytest.raises(NativeError) as caught:
        function(1)
    assert str(caught.value) == "broken.py:2: u32 is needed, this is u64"
    assert caught.value.exit_code == 1


def test_checking_needs_no_llvm() -> None:
    program = (
        "import sys\nfrom gasang.native import native_from_source, u64\n"
        "f = native_from_source('def f(x: u64) -> u64:\\n    return x + 1', {'u64': u64})\n"
        "assert f.python(1) == 2\nassert 'llvmlite' not in sys.modules\n"
    )
    source = gasang.native.__path__[0].removesuffix("gasang/native")
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": source})
