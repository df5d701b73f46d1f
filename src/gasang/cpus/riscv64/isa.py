"""The RISC-V instruction set gasang knows: the table of its extensions, in the order of their numbers."""

from __future__ import annotations

from gasang.cpus.instruction_set import InstructionSet
from gasang.cpus.riscv64.a import zaamo
from gasang.cpus.riscv64.c import rv64c
from gasang.cpus.riscv64.d import rv64d
from gasang.cpus.riscv64.f import rv64f
from gasang.cpus.riscv64.i import rv64i
from gasang.cpus.riscv64.lrsc import zalrsc
from gasang.cpus.riscv64.m import rv64m
from gasang.cpus.riscv64.privileged import privileged
from gasang.cpus.riscv64.zba import zba
from gasang.cpus.riscv64.zbb import zbb
from gasang.cpus.riscv64.zbs import zbs
from gasang.cpus.riscv64.zicbo import zicbo
from gasang.cpus.riscv64.zicsr import zicsr

EXTENSIONS = (
    rv64i,
    rv64m,
    zaamo,
    zalrsc,
    rv64f,
    rv64d,
    rv64c,
    zba,
    zbb,
    zbs,
    zicbo,
    zicsr,
    privileged,
)

rv64 = InstructionSet("rv64", EXTENSIONS)
