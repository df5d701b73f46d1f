"""Spike inside this process: the golden hart, with its whole state at hand.

The `spike` package binds enough to build a machine and step it; registers and memory are reached through the addresses the
bindings give away, found by
looking for values written through the bindings themselves, so that a package with another layout is refused instead of read wrongly.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from typing import Any

from support.lockstep.state import PAGE, RAM_BASE, RAM_SIZE, Vector, csr_numbers

ISA = "rv64imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_zicbom_zicboz_zicclsm_sstc_svadu"
MACHINE = 3
SEARCHED = 1 << 14
BOX = 0xFFFFFFFFFFFFFFFF

MEDELEG, MIDELEG, MCOUNTEREN, MENVCFG, MINSTRET, MCYCLE = 0x302, 0x303, 0x306, 0x30A, 0xB02, 0xB00
PMPCFG0, PMPADDR0, MSTATUS = 0x3A0, 0x3B0, 0x300
STCE, ADUE, CBZE, CBCFE, CBIE = 1 << 63, 1 << 61, 1 << 7, 1 << 6, 3 << 4

MACHINE_LEVEL = {
    MEDELEG: 0xB3FF,  # every exception goes to the supervisor, its own environment calls too
    MIDELEG: 0x222,
    MCOUNTEREN: 7,
    MENVCFG: STCE | ADUE | CBZE | CBCFE | CBIE,
    PMPADDR0: RAM_BASE >> 2 | (RAM_SIZE >> 3) - 1,
    PMPCFG0: 0x1F,  # RAM may be read, written and executed; the devices Spike has beside it are out of reach
}
"""What the machine level must have done before our supervisor-only machine and Spike are alike."""


class Golden:
    """One Spike hart with RAM at RAM_BASE."""

    def __init__(self) -> None:
        from riscv import cfg, sim

        layout = [cfg.mem_cfg_t(RAM_BASE, RAM_SIZE)]
        self._config = cfg.cfg_t(isa=ISA, priv="MSU", mem_layout=layout, start_pc=RAM_BASE)
        self._sim = sim.sim_t(cfg=self._config, halted=False, plugin_device_factories=[], args=["none"])
        self._core: Any = self._sim.get_core(0)
        self._native = ctypes.CDLL(None)
        self._find_registers()
        self._find_memory()
        for number, value in MACHINE_LEVEL.items():
            self._core.put_csr(number, value)
        self.set_privilege(1)

    def _find_registers(self) -> None:
        base = self._core.addressof(self._core)
        marks = [0x5EED_0000_0000_0000 + index for index in range(32)]
        state = self._core.state
        for index in range(1, 32):
            state.XPR.write(index, marks[index])
        image = ctypes.string_at(base, SEARCHED)
        self._x = base + image.index(struct.pack("<31Q", *marks[1:])) - 8
        self._pc = self._x - 8
        self._f = self._x + 32 * 8
        assert ctypes.c_uint64.from_address(self._pc).value == state.pc, "Spike's state is laid out in a way this harness does not know"
        # The first float register, written here, must be what the bindings read.
        self._processor = base

    def _find_memory(self) -> None:
        """Find simif_t and mmu_t through processor_t.

        Before its state processor_t has: simif_t *sim, mmu_t *mmu, a map of 56 bytes, a disassembler; sim's first virtual function
        gives addresses.
        """
        word = ctypes.c_uint64.from_address
        self._mmu = word(self._pc - 72).value
        sim = word(self._pc - 80).value
        assert word(self._mmu).value == sim, "Spike's processor is laid out in an unknown way"
        assert word(self._mmu + 8).value == self._processor, "Spike's memory unit is laid out in an unknown way"
        function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)
        self._address_of = function(word(word(sim).value).value)
        self._simif = sim
        self._pages: dict[int, int] = {}

    def _call(self, symbol: str, *arguments: int) -> None:
        function = getattr(self._native, symbol)
        function.restype = None
        function(*(ctypes.c_uint64(argument) for argument in arguments))

    def page(self, physical: int) -> int:
        """The host address of a RAM page."""
        found = self._pages.get(physical)
        if found is None:
            found = self._pages[physical] = self._address_of(self._simif, physical)
            assert found, f"Spike has no RAM at {physical:#x}"
        return found

    def read(self, physical: int, length: int) -> bytes:
        """RAM, at most to its page's end."""
        return ctypes.string_at(self.page(physical & -PAGE) + physical % PAGE, length)

    def write(self, physical: int, data: bytes) -> None:
        """Store page by page."""
        while data:
            part = data[: PAGE - physical % PAGE]
            ctypes.memmove(self.page(physical & -PAGE) + physical % PAGE, part, len(part))
            physical, data = physical + len(part), data[len(part) :]

    def flush(self) -> None:
        """Forget translations and decoded code."""
        self._call("_ZN5mmu_t9flush_tlbEv", self._mmu)
        self._call("_ZN5mmu_t12flush_icacheEv", self._mmu)

    def drop_reservation(self) -> None:
        """As if another hart had written to the reserved line."""
        # mmu_t: sim, proc, memtracer_list_t (a table pointer and a vector of 24 bytes), then the reservation.
        ctypes.c_uint64.from_address(self._mmu + 48).value = BOX

    def set_privilege(self, privilege: int) -> None:
        """Enter U (0), S (1) or M (3)."""
        self._call("_ZN11processor_t13set_privilegeEmb", self._processor, privilege, 0)

    def set_csr(self, number: int, value: int) -> None:
        """Write a CSR as the machine level could."""
        self._core.put_csr(number, value)

    def csr(self, number: int) -> int:
        """Read a CSR."""
        return int(self._core.get_csr(number))

    def set_pc(self, pc: int) -> None:
        """Where execution goes on."""
        ctypes.c_uint64.from_address(self._pc).value = pc

    def set_registers(self, x: bytes, f: bytes) -> None:
        """32 integer and 32 floating-point registers, eight bytes each."""
        ctypes.memmove(self._x, x, 256)
        boxed = array("Q", [BOX]) * 64
        boxed[0::2] = array("Q", f)
        ctypes.memmove(self._f, boxed.tobytes(), 512)

    def step(self, count: int) -> tuple[int, bool]:
        """Execute up to `count` instructions; (how many retired, whether a trap ended them early)."""
        before = self.retired
        self._core.step(count)
        done = self.retired - before
        return done, done < count

    @property
    def retired(self) -> int:
        """The counter minstret."""
        return int(self._core.get_csr(MINSTRET))

    def vector(self) -> Vector:
        """The whole state."""
        state = self._core.state
        f = array("Q", ctypes.string_at(self._f, 512))
        get = self._core.get_csr
        return Vector(
            state.pc, state.prv, ctypes.string_at(self._x, 256), f[0::2].tobytes(), tuple(get(number) for number in csr_numbers())
        )
