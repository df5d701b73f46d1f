"""The compiled processor: a warm start has all of it, and imports nothing of what made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gasang
from gasang.cpus.decoder import DecoderTables
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.library import load
from gasang.cpus.riscv64.parts import ENTRIES

LOADS = """
import sys
from gasang.cpus.riscv64.library import load
assert load().functions["host_ticks"]() > 0
print(*sys.modules)
"""
HEAVY = {"llvmlite", "gasang.native.checker", "gasang.native.llvm", "gasang.cpus.decoder", "gasang.cpus.riscv64.isa"}


def test_it_has_what_its_parts_say() -> None:
    processor = load()
    assert set(processor.functions) == {entry.name for entry in ENTRIES}
    assert len(processor.dispatch) == 2 + 2 * len(rv64)
    assert all(processor.dispatch)
    assert processor.decoder.content == DecoderTables(rv64).content


def test_a_warm_start_imports_neither_llvm_nor_the_descriptions() -> None:
    load()
    source = str(Path(gasang.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", LOADS], env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()
