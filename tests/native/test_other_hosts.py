"""Code for the other processor family is at least accepted by LLVM and calls nobody unknown; what none has is told as an error."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import UnsupportedError
from gasang.native import NativeFunction, emit_floats, native_from_source
from gasang.native.builtins import BUILTINS
from gasang.native.elf_object import undefined_symbols
from gasang.native.llvm import ModuleEmitter
from gasang.native.target import made_for
from gasang.native.types import boolean, i64
from support.native_twins import FLOATS, INTEGERS, NAMESPACE, NUMBERS, Row, function_text

ATOMICS = "def f(p: ptr[{kind}], v: {kind}) -> {kind}:\n    return atomic_max(p, v) ^ compare_exchange(p, v, v) ^ atomic_load(p)"


def functions(flags: bool) -> list[NativeFunction]:
    rows = [Row(text, kind, kind) for kind in FLOATS for text in ("a[0] + b[0]", "sqrt(a[0])", "fma(a[0], b[0], c[0])")]
    rows += [Row("less_signaling(a[0], b[0])", kind, boolean) for kind in FLOATS]
    rows += [Row("round_to_i64(a[0])", kind, i64) for kind in FLOATS]
    rows += [Row(f"{to}(a[0])", source, to) for source in NUMBERS for to in NUMBERS]
    made = [native_from_source(function_text(row, flags=flags), NAMESPACE) for row in rows]
    return made + [native_from_source(ATOMICS.format(kind=kind), NAMESPACE) for kind in INTEGERS]


@pytest.mark.parametrize(
    ("family", "processor", "features", "flags"),
    [("aarch64", "generic", "+v8.1a", True), ("riscv64", "generic-rv64", "+m,+a,+f,+d,+c", False)],
)
def test_code_for_others(family: str, processor: str, features: str, flags: bool) -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    with made_for(family):
        module = llvm.parse_assembly(ModuleEmitter(functions(flags)).emit())
    module.verify()
    target: Any = llvm.Target.from_triple(f"{family}-unknown-linux-gnu")
    generator = target.create_target_machine(cpu=processor, features=features, opt=1, reloc="pic", codemodel="small", jit=True)
    builder = llvm.create_pass_builder(generator, llvm.create_pipeline_tuning_options(speed_level=1))
    builder.getModulePassManager().run(module, builder)
    lacking = {"__atomic_load_16", "__atomic_compare_exchange_16"} if family == "riscv64" else set()  # no atomics of 128 bits there
    assert undefined_symbols(generator.emit_object(module)) <= {*BUILTINS, *lacking}


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        ("syscall(1)", "system calls"),
        ("i64(float_flags())", "floating-point flags"),
        ("set_float_control(0, 0)\n    return 0", "floating-point control"),
    ],
)
def test_a_host_without_code(body: str, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit_floats, "machine", lambda: "ppc64le")
    statement = body if "return" in body else f"return {body}"
    function = native_from_source(f"def f() -> i64:\n    {statement}", NAMESPACE)
    with pytest.raises(
        UnsupportedError, match=f"{operation}: native code for ppc64le has none; use a host with an x86-64 or AArch64 processor"
    ):
        ModuleEmitter([function]).emit()
