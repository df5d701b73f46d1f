"""Address translation on the compiled processor: the modes and their superpages, permissions, A and D, and what flushes forget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.cpus.riscv64.csr import SATP, SSTATUS
from gasang.cpus.riscv64.mmu import (
    PTE_A,
    PTE_D,
    PTE_G,
    PTE_R,
    PTE_U,
    PTE_V,
    PTE_W,
    PTE_X,
    SATP_SV39,
    SATP_SV48,
    SATP_SV57,
)
from gasang.cpus.riscv64.state import SUPERVISOR, USER
from gasang.cpus.riscv64.trap import SSTATUS_MXR, SSTATUS_SUM
from support.bare import CODE, HANDLER, Bare, asm
from support.lockstep.state import PAGE, RAM_BASE

MODES = {"Sv39": (SATP_SV39, 3), "Sv48": (SATP_SV48, 4), "Sv57": (SATP_SV57, 5)}
DATA = RAM_BASE + 0x200000
OTHER = RAM_BASE + 0x400000
WINDOW = 0x4000_0000
LOAD, STORE = asm("ld", rd=5, rs1=6), asm("sd", rs1=6, rs2=7)
LOAD_FAULT, STORE_FAULT, FETCH_FAULT = 13, 15, 12
RW, RWX = PTE_R | PTE_W, PTE_R | PTE_W | PTE_X


class Space:
    """A page table in which S-mode code at CODE runs where it stands."""

    def __init__(self, bare: Bare, mode: str = "Sv39", privilege: int = SUPERVISOR) -> None:
        self.bare = bare
        self.mode, self.levels = MODES[mode]
        self.root = bare.new_table()
        user = PTE_U if privilege == USER else 0
        bare.map(self.root, self.levels, CODE, CODE, RWX | user)
        bare.map(self.root, self.levels, HANDLER, HANDLER, RWX)

    @property
    def satp(self) -> int:
        """The register's value, ASID 0."""
        return self.mode << 60 | self.root >> 12

    def map(self, virtual: int, physical: int, flags: int, level: int = 0) -> int:
        """Enter a leaf; the address of its PTE."""
        return self.bare.map(self.root, self.levels, virtual, physical, flags, level)

    def enter(self, privilege: int = SUPERVISOR, status: int = 0) -> None:
        """Begin at CODE."""
        self.bare.cpu.pc = CODE
        self.bare.enter(privilege, self.satp, status)


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A machine with one hart and something to find in its memory."""
    machine = Bare()
    machine.put(HANDLER, asm("jal"))
    machine.set_word(DATA, 0x1234)
    machine.set_word(OTHER, 0x5678)
    yield machine
    machine.close()


def attempt(bare: Bare, word: bytes, address: int) -> int:
    """Execute a load or store of `address`; the cause of its fault, 0 for none."""
    bare.put(CODE, asm("fence.i"), word)
    bare.cpu.pc, bare.cpu.x[6], bare.cpu.scause = CODE, address, 0
    bare.run(2)
    if bare.cpu.scause:
        assert bare.trap() == (bare.cpu.scause, CODE + 4, address)
    return int(bare.cpu.scause)


@pytest.mark.parametrize(("mode", "level"), [(mode, level) for mode, (_, levels) in MODES.items() for level in range(levels)])
def test_leaves_of_every_size(bare: Bare, mode: str, level: int) -> None:
    space = Space(bare, mode)
    size = 1 << 12 + 9 * level
    highest = -size % (1 << 64)
    virtual = highest if level == space.levels - 1 else (WINDOW, WINDOW, 64 * size, size)[level]
    base = DATA & -size
    space.map(virtual, base, RW, level)
    space.enter()
    assert attempt(bare, LOAD, virtual + DATA - base) == 0
    assert bare.cpu.x[5] == 0x1234


@pytest.mark.parametrize(("mode", "level"), [(mode, level) for mode, (_, levels) in MODES.items() for level in range(1, levels)])
def test_superpages_that_are_not_aligned(bare: Bare, mode: str, level: int) -> None:
    space = Space(bare, mode)
    virtual = WINDOW if level < 3 else 1 << 12 + 9 * level
    space.map(virtual, RAM_BASE + PAGE, RW, level)
    space.enter()
    assert attempt(bare, LOAD, virtual) == LOAD_FAULT


@pytest.mark.parametrize("mode", MODES)
def test_addresses_whose_upper_bits_differ(bare: Bare, mode: str) -> None:
    space = Space(bare, mode)
    space.map(WINDOW, DATA, RW)
    space.enter()
    bits = 12 + 9 * space.levels
    for address in (WINDOW | 1 << bits, WINDOW | 1 << bits - 1, WINDOW | 1 << 63, WINDOW | -1 << bits & (1 << 64) - 1):
        assert attempt(bare, LOAD, address) == LOAD_FAULT
        assert attempt(bare, STORE, address) == STORE_FAULT
    assert attempt(bare, LOAD, WINDOW) == 0


FLAGS = [
    # flags, mode, sstatus, cause of a load, cause of a store
    (PTE_R, SUPERVISOR, 0, 0, STORE_FAULT),
    (RW, SUPERVISOR, 0, 0, 0),
    (PTE_X, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
    (PTE_X, SUPERVISOR, SSTATUS_MXR, 0, STORE_FAULT),
    (PTE_W, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
    (PTE_W | PTE_X, SUPERVISOR, SSTATUS_MXR, LOAD_FAULT, STORE_FAULT),
    (RW | PTE_U, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
    (RW | PTE_U, SUPERVISOR, SSTATUS_SUM, 0, 0),
    (PTE_X | PTE_U, SUPERVISOR, SSTATUS_SUM, LOAD_FAULT, STORE_FAULT),
    (PTE_X | PTE_U, SUPERVISOR, SSTATUS_SUM | SSTATUS_MXR, 0, STORE_FAULT),
    (RW, USER, 0, LOAD_FAULT, STORE_FAULT),
    (RW, USER, SSTATUS_SUM, LOAD_FAULT, STORE_FAULT),
    (RW | PTE_U, USER, 0, 0, 0),
    (PTE_X | PTE_U, USER, SSTATUS_MXR, 0, STORE_FAULT),
    (RW | 1 << 54, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
    (RW | 1 << 61, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
    (RW | 1 << 63, SUPERVISOR, 0, LOAD_FAULT, STORE_FAULT),
]


@pytest.mark.parametrize(("flags", "privilege", "status", "load", "store"), FLAGS)
def test_permissions(bare: Bare, flags: int, privilege: int, status: int, load: int, store: int) -> None:
    space = Space(bare, privilege=privilege)
    space.map(WINDOW, DATA, flags)
    space.enter(privilege, status)
    assert attempt(bare, LOAD, WINDOW) == load
    space.enter(privilege, status)
    assert attempt(bare, STORE, WINDOW) == store


@pytest.mark.parametrize("bit", [SSTATUS_SUM, SSTATUS_MXR])
def test_sum_and_mxr_are_obeyed_at_once(bare: Bare, bit: int) -> None:
    """Set, used, cleared: what was remembered meanwhile is not used any more."""
    space = Space(bare)
    space.map(WINDOW, DATA, RW | PTE_U if bit == SSTATUS_SUM else PTE_X)
    bare.put(CODE, asm("csrrs", csr=SSTATUS, rs1=8), LOAD, asm("csrrc", csr=SSTATUS, rs1=8), LOAD)
    bare.cpu.x[6], bare.cpu.x[8] = WINDOW, bit
    space.enter()
    bare.run(4)
    assert bare.cpu.x[5] == 0x1234
    assert bare.trap() == (LOAD_FAULT, CODE + 12, WINDOW)


def test_supervisors_never_execute_user_pages(bare: Bare) -> None:
    space = Space(bare)
    space.map(WINDOW, CODE, RWX | PTE_U)
    space.enter(status=SSTATUS_SUM)
    bare.cpu.pc = WINDOW
    bare.run(1)
    assert bare.trap() == (FETCH_FAULT, WINDOW, WINDOW)


@pytest.mark.parametrize("flags", [PTE_A, PTE_D, PTE_U])
def test_pointers_with_bits_only_leaves_may_have(bare: Bare, flags: int) -> None:
    space = Space(bare)
    space.map(WINDOW, DATA, RW)
    slot = space.root + (WINDOW >> 30) * 8
    bare.set_word(slot, bare.word(slot) | flags)
    space.enter()
    assert attempt(bare, LOAD, WINDOW) == LOAD_FAULT


def test_accessed_and_dirty_are_set_where_due(bare: Bare) -> None:
    space = Space(bare)
    slot = space.map(WINDOW, DATA, RW)
    space.enter()
    assert attempt(bare, LOAD, WINDOW) == 0
    assert bare.word(slot) & 0xFF == RW | PTE_V | PTE_A
    assert attempt(bare, STORE, WINDOW) == 0
    assert bare.word(slot) & 0xFF == RW | PTE_V | PTE_A | PTE_D
    read_only = space.map(WINDOW + PAGE, DATA, PTE_R)
    assert attempt(bare, STORE, WINDOW + PAGE) == STORE_FAULT
    assert bare.word(read_only) & 0xFF == PTE_R | PTE_V


def test_tables_outside_of_memory_are_access_faults(bare: Bare) -> None:
    space = Space(bare)
    bare.set_word(space.root + (WINDOW >> 30) * 8, 0x6000_0000 >> 12 << 10 | PTE_V)
    space.enter()
    assert attempt(bare, LOAD, WINDOW) == 5
    assert attempt(bare, STORE, WINDOW) == 7


def _remapped(bare: Bare, space: Space, slot: int, *fence: bytes) -> int:
    """Load from WINDOW, map it to OTHER, execute `fence`, load again: what the second load found."""
    bare.put(CODE, LOAD, asm("sd", rs1=9, rs2=8), *fence, LOAD)
    space.map(slot & -PAGE, slot & -PAGE, RW)
    bare.cpu.x[6], bare.cpu.x[9] = WINDOW, slot
    bare.cpu.x[8] = OTHER >> 12 << 10 | RW | PTE_V | PTE_G * (bare.word(slot) >> 5 & 1)
    space.enter()
    bare.run(3 + len(fence))
    assert bare.cpu.scause == 0
    return int(bare.cpu.x[5])


@pytest.mark.parametrize("flags", [RW, RW | PTE_G])
@pytest.mark.parametrize(
    "fence", [asm("sfence.vma"), asm("sfence.vma", rs1=6), asm("sfence.vma", rs1=6, rs2=0)], ids=["all", "page", "page of all spaces"]
)
def test_sfence_forgets(bare: Bare, flags: int, fence: bytes) -> None:
    space = Space(bare)
    slot = space.map(WINDOW, DATA, flags)
    assert _remapped(bare, space, slot, fence) == 0x5678


def test_sfence_of_an_address_space(bare: Bare) -> None:
    space = Space(bare)
    slot = space.map(WINDOW, DATA, RW)
    assert _remapped(bare, space, slot, asm("sfence.vma", rs2=10)) == 0x5678  # x10 = 0: ASID 0


def test_sfence_of_a_page_leaves_what_the_other_half_has(bare: Bare) -> None:
    """A kernel has superpages, and flushes a page of a program at each fault: that is no full flush."""
    space, kernel = Space(bare), -(1 << 36) % (1 << 64) + (WINDOW & 63 << 30)
    slot = space.map(WINDOW, DATA, RW)
    space.map(kernel, DATA, RW, 1)
    space.enter()
    assert attempt(bare, LOAD, kernel) == 0
    assert attempt(bare, LOAD, WINDOW) == 0
    assert bare.cpu.x[5] == 0x1234
    before = bare.cpu.context
    bare.set_word(slot, OTHER >> 12 << 10 | RW | PTE_V)
    assert attempt(bare, asm("sfence.vma", rs1=6), WINDOW) == 0
    assert attempt(bare, LOAD, WINDOW) == 0
    assert (bare.cpu.x[5], bare.cpu.context) == (0x5678, before)
    assert attempt(bare, asm("sfence.vma", rs1=6), kernel) == 0
    assert bare.cpu.context != before


@pytest.mark.parametrize("distance", [0, PAGE, 0x1FF000])
def test_sfence_of_a_page_forgets_the_superpage_it_is_in(bare: Bare, distance: int) -> None:
    space = Space(bare)
    slot = space.map(WINDOW, DATA, RW, level=1)
    bare.put(CODE, LOAD, asm("sd", rs1=9, rs2=8), asm("sfence.vma", rs1=11), LOAD)
    space.map(slot & -PAGE, slot & -PAGE, RW)
    bare.cpu.x[6], bare.cpu.x[9], bare.cpu.x[11] = WINDOW, slot, WINDOW + distance
    bare.cpu.x[8] = OTHER >> 12 << 10 | RW | PTE_V
    space.enter()
    bare.run(4)
    assert bare.cpu.scause == 0
    assert bare.cpu.x[5] == 0x5678


def test_address_spaces_are_kept_apart(bare: Bare) -> None:
    """More of them than the soft TLB has numbers, each with its own page, visited in turn without any fence."""
    spaces = []
    for number in range(150):
        space = Space(bare)
        space.map(WINDOW, DATA + PAGE * number, RW)
        bare.set_word(DATA + PAGE * number, 1000 + number)
        spaces.append(space)
    bare.put(CODE, asm("csrrw", csr=SATP, rs1=8), LOAD)
    bare.cpu.x[6] = WINDOW
    spaces[0].enter()
    for _ in range(2):
        for number, space in enumerate(spaces):
            bare.cpu.pc, bare.cpu.x[8] = CODE, space.satp | number << 44
            bare.run(2)
            assert bare.cpu.x[5] == 1000 + number


@pytest.mark.parametrize("mode", [1, 2, 7, 11, 12, 15])
def test_unknown_modes_leave_satp_alone(bare: Bare, mode: int) -> None:
    bare.put(CODE, asm("csrrw", csr=SATP, rs1=8))
    bare.cpu.x[8] = mode << 60 | 0x1234
    bare.run(1)
    assert (bare.cpu.satp, bare.cpu.pc) == (0, CODE + 4)


def test_accesses_over_two_pages(bare: Bare) -> None:
    """Each half by its own translation; a fault names the first byte of the page that faults, and nothing is stored."""
    space = Space(bare)
    space.map(WINDOW, DATA, RW)
    space.map(WINDOW + PAGE, OTHER, RW)
    space.map(WINDOW + 2 * PAGE, DATA + PAGE, PTE_R)
    space.enter()
    bare.cpu.x[7] = 0x1122334455667788
    assert attempt(bare, STORE, WINDOW + PAGE - 3) == 0
    assert bare.word(DATA + PAGE - 8) >> 40 == 0x667788
    assert bare.word(OTHER) & 0xFFFFFFFFFF == 0x1122334455
    assert attempt(bare, LOAD, WINDOW + PAGE - 3) == 0
    assert bare.cpu.x[5] == 0x1122334455667788
    for address, word, cause in ((WINDOW + 2 * PAGE - 4, STORE, STORE_FAULT), (WINDOW + 3 * PAGE - 4, LOAD, LOAD_FAULT)):
        before = bare.word(OTHER + PAGE - 8)
        bare.put(CODE, asm("fence.i"), word)
        bare.cpu.pc, bare.cpu.x[6] = CODE, address
        bare.run(2)
        assert bare.trap() == (cause, CODE + 4, (address | PAGE - 1) + 1)
        assert bare.word(OTHER + PAGE - 8) == before
