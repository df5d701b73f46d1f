"""What a start may not wait for: to boot a kernel of the user's, nothing is imported that it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gasang
from gasang.cpus.riscv64.library import load

LOADS = """
import sys
from gasang.kinds.vm import launch
from gasang.accel.soft.machine import SoftMachine
machine = SoftMachine(0x8000_0000, 1 << 20, 1)
machine.close()
print(*sys.modules)
"""
COMPILER = ("llvmlite", "gasang.native.checker", "gasang.native.tree", "gasang.native.llvm", "gasang.native.elf_object")
DESCRIPTIONS = ("gasang.cpus.decoder", "gasang.cpus.instruction_set", "gasang.cpus.riscv64.isa", "gasang.cpus.riscv64.execute")
"""What the compiled processor was made of."""
FOR_IMAGES = ("gasang.images", "gasang.storage", "json", "tarfile", "lzma", "urllib.request")


def test_a_warm_start_imports_only_what_it_uses() -> None:
    load()
    env = {**os.environ, "PYTHONPATH": str(Path(gasang.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", LOADS], env=env, capture_output=True, text=True, check=True)
    assert sorted(set(done.stdout.split()) & {*COMPILER, *DESCRIPTIONS, *FOR_IMAGES}) == []
