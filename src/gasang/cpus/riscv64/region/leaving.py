"""The ways out of a region: to a record of its own pages, or to a pc, with everything as if it had been interpreted."""

from __future__ import annotations

from collections.abc import Mapping

from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.region.bodies import BodyEmitter
from gasang.cpus.riscv64.region.homes import names
from gasang.cpus.riscv64.region.layout import CPU, HART, field_offset
from gasang.cpus.riscv64.region.pages import guest_place
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.regions import MISS
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, PAGE_MASK, PAGE_SIZE
from gasang.native import NativeFunction
from gasang.native.types import offset_of

_MASK = (1 << 64) - 1
_STAMP = offset_of(Block, "stamp")
_CODE_TLB_ENTRY = 32
BASE_AT, BIAS_AT = 8, 16


class LeavingEmitter(BodyEmitter):
    """Emits exits. `stamps` are those of the pages that the region lies on."""

    region: Region
    stamps: Mapping[int, int]
    written: int
    """The registers that some instruction writes: this set and the next are as homes.py has them."""
    stored: int
    """Those of which the hart has the values, where the text is now."""

    def __init__(self, function: NativeFunction, strict: bool, multi: bool) -> None:
        super().__init__(function, strict, multi)
        self._exits: list[tuple[str, int, str, int, int, int]] = []
        self._ways: dict[tuple[str, int, int], str] = {}

    def exit_to(self, place: int, left: str, more: int) -> str:
        """The label of an exit to be written: to a place of the region's pages with a budget of `left` and `more`."""
        label = self.label("exit")
        self._exits.append((label, place, left, more, self.written & ~self.stored, self.words))
        return label

    def away_to(self, end: str, missing: int | None = None) -> str:
        """The label of a way to `far` or `leave` on which the hart is given the values that it has not."""
        missing = self.written & ~self.stored if missing is None else missing
        way = end, missing, self.words & missing
        if way not in self._ways:
            self._ways[way] = self.label("away")
        return self._ways[way]

    def ends(self) -> None:
        """Write the exits."""
        for label, place, left, more, missing, words in self._exits:
            self.words = words
            self.begin(label)
            self._leave_at(place, self.plus(left, more), missing)
        for (end, missing, words), label in self._ways.items():
            self.words = words
            after = self._after(end, missing)
            self.begin(label)
            self.put_away(missing & ~after, apart=True)
            self.jump(self._ways[end, after, self.words & after] if after else end)
        self.begin("far")
        self._write_flag()
        self._far()
        self.begin("leave")
        self._write_flag()
        at = self.value(f"inttoptr i64 {self.value('load i64, ptr %at')} to ptr")
        where = self.value(f"inttoptr i64 {self.value('load i64, ptr %where')} to ptr")
        left = self.value("load i64, ptr %left")
        self.account("sub", left)
        self.go(self.value(f"load ptr, ptr {where}{HART}"), at, left)

    def _after(self, end: str, missing: int) -> int:
        """What another way to the same end puts away, and no more than is missing: text that need not be written twice."""
        others = [
            other for which, other, words in self._ways
            if which == end and other != missing and not other & ~missing and words == self.words & other
        ]  # fmt: skip
        return max(others, key=int.bit_count, default=0)

    def put_away(self, registers: int, *, apart: bool = False) -> None:
        """Give the hart the values of some registers; `apart` where that is hardly ever done."""
        for name in names(registers):
            number, offset = int(name[1:]), field_offset(name[0]) + 8 * int(name[1:])
            is_word = name[0] == "x" and self.words >> number & 1
            value = self.kept_apart(name[0], number) if apart and is_word else self.kept_value(name[0], number)
            self.write_back(value, offset)
        self.stored |= registers

    def _write_flag(self) -> None:
        if "%kept.fs" in self.kept:
            self.write_back(self.value("load i64, ptr %kept.fs"), self.kept["%kept.fs"])

    def write_back(self, value: str, offset: int) -> None:
        """Give the hart a value, at an offset in Cpu."""
        self.line(f"store i64 {value}, ptr {self.value(f'getelementptr i8, ptr {CPU}, i64 {offset}')}{HART}")

    def _leave_at(self, place: int, left: str, missing: int) -> None:
        place = guest_place(place)
        page = place // PAGE_SIZE
        base = self.value(f"load i64, ptr %base.{name_of(page)}")
        record = self.plus(base, (place % PAGE_SIZE) << 3)
        self.line(f"store i64 {left}, ptr %left")
        self.line(f"store i64 {record}, ptr %at")
        if place in self.region.entries:
            dispatch = self.value(f"load i64, ptr {self.of_cpu('dispatch')}{HART}")
            self.line(f"store i64 {self.plus(dispatch, 8 * self._row(place))}, ptr %where")
        else:
            self.line(f"store i64 {record}, ptr %where")
        if len(self.stamps) > 1:
            start = self.plus(self.value("load i64, ptr %origin"), page * PAGE_SIZE)
            bias = self.value(f"sub i64 {start}, {self.value(f'lshr i64 {base}, 3')}")
            self.line(f"store i64 {base}, ptr {self.of_cpu('code_base')}{HART}")
            self.line(f"store i64 {bias}, ptr {self.of_cpu('code_bias')}{HART}")
        self.jump(self.away_to("leave", missing))

    def _far(self) -> None:
        """Go on at %pc, as a handler of a far jump does."""
        target, left = self.value("load i64, ptr %pc"), self.value("load i64, ptr %left")
        self.account("sub", left)
        entry = self.code_entry(target)
        tag = self.value(f"load i64, ptr {entry}{HART}")
        wanted = self.value(f"or i64 {self.value(f'and i64 {target}, {PAGE_MASK}')}, %known.context")
        near, lost = self.label("near"), self.label("lost")
        self.branch(self.value(f"icmp eq i64 {tag}, {wanted}"), near, lost)
        self.begin(near)
        base = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {BASE_AT}')}{HART}")
        bias = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {BIAS_AT}')}{HART}")
        self.line(f"store i64 {base}, ptr {self.of_cpu('code_base')}{HART}")
        self.line(f"store i64 {bias}, ptr {self.of_cpu('code_bias')}{HART}")
        offset = self.value(f"shl i64 {self.value(f'and i64 {target}, {PAGE_SIZE - 2}')}, 3")
        record = self.value(f"inttoptr i64 {self.value(f'add i64 {base}, {offset}')} to ptr")
        self.go(self.value(f"load ptr, ptr {record}{HART}"), record, left)
        self.begin(lost)
        self.line(f"store i64 {target}, ptr {self.of_cpu('pc')}{HART}")
        self.go(self.helper(MISS), "%record", left)

    def account(self, what: str, budget: str) -> None:
        """Keep Cpu.compiled: a region has what it was given, and by its polls, less what it leaves."""
        place = self.of_cpu("compiled")
        counted = self.value(f"load i64, ptr {place}{HART}")
        self.line(f"store i64 {self.value(f'{what} i64 {counted}, {budget}')}, ptr {place}{HART}")

    def go(self, target: str, record: str, left: str) -> None:
        """Leave: a tail call of a handler."""
        self.line(f"musttail call preserve_nonecc void {target}(ptr {CPU}, ptr {record}, i64 {left}){self.strict}")
        self.terminate("ret void")

    # ------------------------------------------------------------------ small parts

    def _row(self, place: int) -> int:
        """The row of the dispatch table that the interpreter has for an instruction."""
        step = self.region.steps[place]
        index = (place % PAGE_SIZE) >> 1
        far = not 0 <= index + (step.decoded.slots.get("imm", 0) >> 1) < RECORDS
        return 2 * rv64.numbers[step.decoded.instruction] + int(far)

    def own_handler(self, place: int) -> str:
        """The handler that the interpreter has for an instruction."""
        dispatch = self.value(f"load ptr, ptr {self.of_cpu('dispatch')}{HART}")
        return self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {dispatch}, i64 {8 * self._row(place)}')}{HART}")

    def stamp_at(self, base: str) -> str:
        """The stamp of the block of records at `base`."""
        pointer = self.value(f"inttoptr i64 {base} to ptr")
        return self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {pointer}, i64 {_STAMP}')}{HART}")

    def code_entry(self, address: str) -> str:
        """The code TLB's entry for an address."""
        number = self.value(f"and i64 {self.value(f'lshr i64 {address}, 12')}, {CODE_TLB_ENTRIES - 1}")
        offset = self.plus(self.value(f"mul i64 {number}, {_CODE_TLB_ENTRY}"), field_offset("code_tlb"))
        return self.value(f"getelementptr i8, ptr {CPU}, i64 {offset}")

    def pc_of(self, place: int) -> str:
        """The pc of a place."""
        return self.plus(self.value("load i64, ptr %origin"), guest_place(place))

    def plus(self, value: str, number: int) -> str:
        """A sum."""
        return self.value(f"add i64 {value}, {word(number)}") if number else value

    def minus(self, value: str, number: int) -> str:
        """A difference."""
        return self.plus(value, -number)


def word(number: int) -> str:
    """A number as LLVM reads one of 64 bits."""
    return str(number & _MASK)


def name_of(place: int) -> str:
    """A place in a label, which is none of those that are numbered (emit_text.py)."""
    return "." + str(place).replace("-", "m")
