"""Where random programs run: a privilege, a translation mode, and page tables that lead accesses into every kind of fault.

Physical memory: page tables, then the program's pages, then the data pages. With paging the same pages stand at VIRTUAL, where
DATA_FLAGS gives
each data page its own rights; without, nothing is protected.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gasang.cpus.riscv64.mmu import PTE_A, PTE_D, PTE_R, PTE_U, PTE_V, PTE_W, PTE_X, SATP_BARE, SATP_SV39, SATP_SV48, SATP_SV57
from gasang.cpus.riscv64.state import SUPERVISOR, USER
from support.lockstep.state import PAGE, RAM_BASE

TABLES = RAM_BASE + 0x1000
TABLE_COUNT = 5
CODE = RAM_BASE + 0x10000
CODE_PAGES = 2
DATA = RAM_BASE + 0x20000
VIRTUAL = 0x4000_0000
NOWHERE = 0x6000_0000
"""A physical address where nothing answers."""

_RW = PTE_R | PTE_W
DATA_FLAGS = (
    _RW, _RW, PTE_R | PTE_A, _RW | PTE_A | PTE_D, None, _RW, PTE_X, _RW, PTE_R | PTE_W | PTE_X, PTE_W, _RW | PTE_D, None,
)  # fmt: skip
"""Rights of the data pages; None where the page is not there."""
ABSENT_RAM = len(DATA_FLAGS) - 2
"""The data page that leads to NOWHERE."""
WRITABLE_PAGES = tuple(n for n, flags in enumerate(DATA_FLAGS) if flags is not None and flags & _RW == _RW and n != ABSENT_RAM)
DATA_PAGES = len(DATA_FLAGS)
DATA_SIZE = DATA_PAGES * PAGE


@dataclass(frozen=True)
class World:
    """One way to run."""

    privilege: int
    mode: int

    @property
    def name(self) -> str:
        """For messages."""
        mode = {SATP_BARE: "bare", SATP_SV39: "Sv39", SATP_SV48: "Sv48", SATP_SV57: "Sv57"}[self.mode]
        return f"{'U' if self.privilege == USER else 'S'}-mode, {mode}"

    @property
    def code(self) -> int:
        """Where the program stands for the processor."""
        return CODE if self.mode == SATP_BARE else VIRTUAL + CODE - RAM_BASE

    @property
    def data(self) -> int:
        """Where the data pages stand for the processor."""
        return DATA if self.mode == SATP_BARE else VIRTUAL + DATA - RAM_BASE

    @property
    def satp(self) -> int:
        """The register's value."""
        return 0 if self.mode == SATP_BARE else self.mode << 60 | TABLES >> 12

    def tables(self) -> bytes:
        """The page tables' pages, from TABLES on: the root first."""
        levels = self.mode - 5 if self.mode else 0
        pages = [bytearray(PAGE) for _ in range(TABLE_COUNT)]
        for number in range(levels - 1):
            slot = VIRTUAL >> 12 + 9 * (levels - 1 - number) & 511
            struct.pack_into("<Q", pages[number], 8 * slot, (TABLES >> 12) + number + 1 << 10 | PTE_V)
        if levels:
            user = PTE_U if self.privilege == USER else 0
            for address, flags in self._leaves():
                slot = (VIRTUAL + address - RAM_BASE) >> 12 & 511
                target = NOWHERE if address == DATA + ABSENT_RAM * PAGE else address
                struct.pack_into("<Q", pages[levels - 1], 8 * slot, target >> 12 << 10 | flags | user | PTE_V)
        return b"".join(pages)

    def _leaves(self) -> list[tuple[int, int]]:
        # A is set: our hart looks up the trap handler when the trap is taken, the golden one when it fetches there.
        leaves = [(CODE + PAGE * number, PTE_R | PTE_X | PTE_A) for number in range(CODE_PAGES)]
        leaves += [(DATA + PAGE * number, flags) for number, flags in enumerate(DATA_FLAGS) if flags is not None]
        return leaves


WORLDS = tuple(World(privilege, mode) for mode in (SATP_BARE, SATP_SV39, SATP_SV48, SATP_SV57) for privilege in (SUPERVISOR, USER))
