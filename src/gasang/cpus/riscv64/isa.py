"""The RISC-V instruction set gasang knows: the table of its extensions, in the order of their numbers."""

from __future__ import annotations

from gasang.cpus.instruction_set import InstructionSet
from gasang.cpus.riscv64.i import rv64i

EXTENSIONS = (rv64i,)

rv64 = InstructionSet("rv64", EXTENSIONS)
