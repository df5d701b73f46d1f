"""A region as one LLVM function that stands where handlers stand: (cpu, record, budget), ending in a tail call.

    begin ──► which page, are the others what they were ──► registers ──► at place ──► … ──► at head: budget? ──► …
                 │ no                                                        │ an instruction          │ poll
                 ▼                                                           ▼ that cannot             ▼
              the interpreter's handler ◄── registers, pc, budget as if it had been interpreted ◄──────┘

An exit writes all registers back that the region may have changed, and the budget less what was executed; then it goes on at a record, or,
where only the pc is known, through the code TLB. An exit to a place where this region itself begins takes the interpreter's handler by the
instruction's number, since the record's is the region.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gasang.cpus.instruction_set import SLOTS, Result
from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.execute import enter as handler
from gasang.cpus.riscv64.handlers import FLOATING
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.region.bodies import CPU, HART, KNOWN, METADATA, BodyEmitter, field_offset, offset_of
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.region.symbol import SYMBOL
from gasang.cpus.riscv64.regions import MISS, POLL_REGION
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, PAGE_MASK, PAGE_SIZE
from gasang.native.emit_function import ATTRIBUTES

_MASK = (1 << 64) - 1
_STAMP = offset_of(Block, "stamp")
_CODE_TLB_ENTRY = 32
_BASE_AT, _BIAS_AT = 8, 16


class RegionEmitter(BodyEmitter):
    """Emits one region. `stamps` are those of the pages it lies on."""

    def __init__(self, region: Region, stamps: Mapping[int, int], *, multi: bool) -> None:
        self._floating = any(_is_floating(step) for step in region.steps.values())
        super().__init__(handler, self._floating, multi)
        self._region = region
        self._stamps = dict(stamps)
        self._exits: list[tuple[str, int, str]] = []
        for name in ("left", "at", "where", "pc", "place"):
            self.slots.append(f"  %{name} = alloca i64, align 8")
        for page in self._stamps:
            self.slots.append(f"  %base.{_name(page)} = alloca i64, align 8")
        self.slots.append("  %origin = alloca i64, align 8")

    def emit(self) -> str:
        """The module's text."""
        if self._floating:
            self.keep("fs", field_offset("fs"))
        self.open = False
        self._body()
        self._ends()
        body, self.lines = self.lines, []
        self.open = True
        self._begin()
        head = f"define preserve_nonecc void @{SYMBOL}(ptr {CPU}, ptr %record, i64 %budget) {ATTRIBUTES}{self.strict}"
        return "\n".join([head + " {", "entry:", *self.slots, *self.lines, *body, "}", METADATA])

    # ------------------------------------------------------------------ the way in

    def _begin(self) -> None:
        self.line(f"%code.base = load i64, ptr {self._of_cpu('code_base')}{HART}")
        self.line(f"%code.bias = load i64, ptr {self._of_cpu('code_bias')}{HART}")
        for name in sorted(KNOWN):
            self.line(f"%known.{name} = load i64, ptr {self._of_cpu(name)}{HART}")
        self.line("store i64 %budget, ptr %left")
        pages = sorted({place // PAGE_SIZE for place in self._region.entries})
        stamp = self._stamp_at("%code.base")
        cases = " ".join(f"i64 {_word(self._stamps[page])}, label %anchor{_name(page)}" for page in pages)
        self.terminate(f"switch i64 {stamp}, label %strange [ {cases} ]")
        for page in pages:
            self._anchor(page)
        self._registers()
        self._pass()
        self.begin("strange")  # the record is the region's no more: it is decoded anew
        fresh = self.value(f"load ptr, ptr {self._of_cpu('dispatch')}{HART}")
        handler_word = self.value(f"load i64, ptr {fresh}{HART}")
        self.line(f"store i64 {handler_word}, ptr %record{HART}")
        self._go(self.value(f"inttoptr i64 {handler_word} to ptr"), "%record", "%budget")

    def _anchor(self, page: int) -> None:
        """The region was begun on `page`: note where the others are, if they are what they were."""
        self.begin(f"anchor{_name(page)}")
        index = self.value(f"sub i64 {self.value('ptrtoint ptr %record to i64')}, %code.base")
        offset = self.value(f"lshr i64 {index}, 3")
        self.line(f"store i64 {self._plus(offset, page * PAGE_SIZE)}, ptr %place")
        here = self.value(f"add i64 {self.value('lshr i64 %code.base, 3')}, %code.bias")
        origin = self._plus(here, -page * PAGE_SIZE)
        self.line(f"store i64 {origin}, ptr %origin")
        self.line(f"store i64 %code.base, ptr %base.{_name(page)}")
        for other in self._stamps:
            if other != page:
                self._other_page(origin, other)
        self.jump("ready")

    def _other_page(self, origin: str, page: int) -> None:
        start = self._plus(origin, page * PAGE_SIZE)
        entry = self._code_entry(start)
        tag = self.value(f"load i64, ptr {entry}{HART}")
        known = self.label("known")
        self.branch(self.value(f"icmp eq i64 {tag}, {self.value(f'or i64 {start}, %known.context')}"), known, "pass")
        self.begin(known)
        base = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {_BASE_AT}')}{HART}")
        same = self.label("same")
        self.branch(self.value(f"icmp eq i64 {self._stamp_at(base)}, {_word(self._stamps[page])}"), same, "pass")
        self.begin(same)
        self.line(f"store i64 {base}, ptr %base.{_name(page)}")

    def _registers(self) -> None:
        self.begin("ready")
        if self._floating:
            fs = self.value(f"load i64, ptr {self._of_cpu('fs')}{HART}")
            on = self.label("on")
            self.branch(self.value(f"icmp ne i64 {fs}, 0"), on, "pass")
            self.begin(on)
        for slot, offset in self.kept.items():
            value = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {CPU}, i64 {offset}')}{HART}")
            self.line(f"store i64 {value}, ptr {slot}")
        cases = " ".join(f"i64 {_word(place)}, label %enter{_name(place)}" for place in self._region.entries)
        self.terminate(f"switch i64 {self.value('load i64, ptr %place')}, label %strange [ {cases} ]")

    def _pass(self) -> None:
        """Not now: the interpreter's handler of the instruction."""
        self.begin("pass")
        cases = " ".join(f"i64 {_word(place)}, label %pass{_name(place)}" for place in self._region.entries)
        self.terminate(f"switch i64 {self.value('load i64, ptr %place')}, label %strange [ {cases} ]")
        for place in self._region.entries:
            self.begin(f"pass{_name(place)}")
            self._go(self._own_handler(place), "%record", "%budget")

    # ------------------------------------------------------------------ the instructions

    def _body(self) -> None:
        region = self._region
        for place in region.entries:
            self.begin(f"enter{_name(place)}")
            if place not in region.heads:
                self._check(place)
            self.jump(f"{'at' if place in region.heads else 'go'}{_name(place)}")
        for leader in sorted(region.leaders):
            self.begin(f"at{_name(leader)}")
            if leader in region.heads:
                self._check(leader)
            self.start(f"go{_name(leader)}")
            self._line_from(leader)

    def _check(self, place: int) -> None:
        """Go on if the budget lasts until the next check; else poll, or leave."""
        need = self._region.checks[place]
        enough, poll = self.label("enough"), self.label("poll")
        left = self.value("load i64, ptr %left")
        more = self.value(f"icmp uge i64 {left}, {need}")
        self.branch(self.value(f"call i1 @llvm.expect.i1(i1 {more}, i1 true)"), enough, poll)
        self.begin(poll)
        helpers = self.value(f"load ptr, ptr {self._of_cpu('helpers')}{HART}")
        helper = self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {helpers}, i64 {8 * POLL_REGION}')}{HART}")
        fresh = self.value(f"call preserve_mostcc i64 {helper}(ptr {CPU}, i64 {left}, i64 0)")
        refreshed = self.label("refreshed")
        self.branch(self.value(f"icmp uge i64 {fresh}, {need}"), refreshed, self._exit(place, left))
        self.begin(refreshed)
        self.line(f"store i64 {fresh}, ptr %left")
        self.jump(enough)
        self.begin(enough)

    def _line_from(self, leader: int) -> None:
        """The instructions from a leader to the next, and where they go on."""
        left = self.value("load i64, ptr %left")
        place, done = leader, 0
        while True:
            step = self._region.steps[place]
            self.way_out = self._exit(place, self._minus(left, done))
            result = self._execute(step)
            done += 1
            if step.decoded.instruction.result is not Result.FALLTHROUGH:
                self._go_on(step, result, self._minus(left, done))
                return
            if step.after in self._region.leaders or step.after not in self._region.steps:
                self._to(step.after, self._minus(left, done))
                return
            place = step.after

    def _execute(self, step: Step) -> str:
        """The body of an instruction; what it returns."""
        instruction = step.decoded.instruction
        function: Any = instruction.function
        given: list[Any] = [CPU]
        for name, kind in function.parameters[1:]:
            if name == "pc":
                given.append(self._pc(step.place))
            elif name == "next_pc":
                given.append(self._pc(step.after))
            else:
                given.append(int(kind.wrap(step.decoded.slots[SLOTS[name]])))
        frame = self.enter(function, given)
        self.statements(function.tree.body)
        self.leave(frame)
        self.begin(frame.fault)
        self.jump(self.way_out)
        self.begin(frame.after)
        return "" if function.result is None else self.value(f"load {function.result.llvm}, ptr {frame.result}")

    def _go_on(self, step: Step, result: str, left: str) -> None:
        if step.decoded.instruction.result is Result.BRANCH:
            assert step.target is not None
            taken, other = self.label("taken"), self.label("other")
            self.branch(result, taken, other)
            self.begin(taken)
            self._to(step.target, left)
            self.begin(other)
            self._to(step.after, left)
        elif step.target is not None:
            self._to(step.target, left)
        else:
            self._indirect(step, result, left)

    def _indirect(self, step: Step, target: str, left: str) -> None:
        inside = self._region.goes_on(step)
        self.line(f"store i64 {left}, ptr %left")
        self.line(f"store i64 {target}, ptr %pc")
        if not inside:
            self.jump("far")
            return
        distance = self.value(f"sub i64 {target}, {self.value('load i64, ptr %origin')}")
        cases = " ".join(f"i64 {_word(place)}, label %at{_name(place)}" for place in inside)
        self.terminate(f"switch i64 {distance}, label %far [ {cases} ]")

    def _to(self, place: int, left: str) -> None:
        """Go on at a place, inside or not."""
        if place in self._region.steps:
            self.line(f"store i64 {left}, ptr %left")
            self.jump(f"at{_name(place)}")
        elif place // PAGE_SIZE in self._stamps:
            self.jump(self._exit(place, left))
        else:
            self.line(f"store i64 {left}, ptr %left")
            self.line(f"store i64 {self._pc(place)}, ptr %pc")
            self.jump("far")

    # ------------------------------------------------------------------ the ways out

    def _exit(self, place: int, left: str) -> str:
        """The label of an exit to be written: to a place of the region's pages with so much budget."""
        label = self.label("exit")
        self._exits.append((label, place, left))
        return label

    def _ends(self) -> None:
        for label, place, left in self._exits:
            self.begin(label)
            self._leave_at(place, left)
        self.begin("far")
        self._write_back()
        self._far()
        self.begin("leave")
        self._write_back()
        at = self.value(f"inttoptr i64 {self.value('load i64, ptr %at')} to ptr")
        where = self.value(f"inttoptr i64 {self.value('load i64, ptr %where')} to ptr")
        self._go(self.value(f"load ptr, ptr {where}{HART}"), at, self.value("load i64, ptr %left"))

    def _leave_at(self, place: int, left: str) -> None:
        page = place // PAGE_SIZE
        base = self.value(f"load i64, ptr %base.{_name(page)}")
        record = self._plus(base, (place % PAGE_SIZE) << 3)
        self.line(f"store i64 {left}, ptr %left")
        self.line(f"store i64 {record}, ptr %at")
        if place in self._region.entries:
            dispatch = self.value(f"load i64, ptr {self._of_cpu('dispatch')}{HART}")
            self.line(f"store i64 {self._plus(dispatch, 8 * self._row(place))}, ptr %where")
        else:
            self.line(f"store i64 {record}, ptr %where")
        if len(self._stamps) > 1:
            start = self._plus(self.value("load i64, ptr %origin"), page * PAGE_SIZE)
            bias = self.value(f"sub i64 {start}, {self.value(f'lshr i64 {base}, 3')}")
            self.line(f"store i64 {base}, ptr {self._of_cpu('code_base')}{HART}")
            self.line(f"store i64 {bias}, ptr {self._of_cpu('code_bias')}{HART}")
        self.jump("leave")

    def _write_back(self) -> None:
        for slot in sorted(self.written):
            value = self.value(f"load i64, ptr {slot}")
            self.line(f"store i64 {value}, ptr {self.value(f'getelementptr i8, ptr {CPU}, i64 {self.kept[slot]}')}{HART}")

    def _far(self) -> None:
        """Go on at %pc, as a handler of a far jump does."""
        target, left = self.value("load i64, ptr %pc"), self.value("load i64, ptr %left")
        entry = self._code_entry(target)
        tag = self.value(f"load i64, ptr {entry}{HART}")
        wanted = self.value(f"or i64 {self.value(f'and i64 {target}, {PAGE_MASK}')}, %known.context")
        near, lost = self.label("near"), self.label("lost")
        self.branch(self.value(f"icmp eq i64 {tag}, {wanted}"), near, lost)
        self.begin(near)
        base = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {_BASE_AT}')}{HART}")
        bias = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {_BIAS_AT}')}{HART}")
        self.line(f"store i64 {base}, ptr {self._of_cpu('code_base')}{HART}")
        self.line(f"store i64 {bias}, ptr {self._of_cpu('code_bias')}{HART}")
        offset = self.value(f"shl i64 {self.value(f'and i64 {target}, {PAGE_SIZE - 2}')}, 3")
        record = self.value(f"inttoptr i64 {self.value(f'add i64 {base}, {offset}')} to ptr")
        self._go(self.value(f"load ptr, ptr {record}{HART}"), record, left)
        self.begin(lost)
        self.line(f"store i64 {target}, ptr {self._of_cpu('pc')}{HART}")
        helpers = self.value(f"load ptr, ptr {self._of_cpu('helpers')}{HART}")
        miss = self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {helpers}, i64 {8 * MISS}')}{HART}")
        self._go(miss, "%record", left)

    def _go(self, target: str, record: str, left: str) -> None:
        self.line(f"musttail call preserve_nonecc void {target}(ptr {CPU}, ptr {record}, i64 {left}){self.strict}")
        self.terminate("ret void")

    # ------------------------------------------------------------------ small parts

    def _row(self, place: int) -> int:
        """The row of the dispatch table that the interpreter has for an instruction."""
        step = self._region.steps[place]
        index = (place % PAGE_SIZE) >> 1
        far = not 0 <= index + (step.decoded.slots.get("imm", 0) >> 1) < RECORDS
        return 2 * rv64.numbers[step.decoded.instruction] + int(far)

    def _own_handler(self, place: int) -> str:
        dispatch = self.value(f"load ptr, ptr {self._of_cpu('dispatch')}{HART}")
        return self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {dispatch}, i64 {8 * self._row(place)}')}{HART}")

    def _of_cpu(self, field: str) -> str:
        return self.value(f"getelementptr i8, ptr {CPU}, i64 {field_offset(field)}")

    def _stamp_at(self, base: str) -> str:
        pointer = self.value(f"inttoptr i64 {base} to ptr")
        return self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {pointer}, i64 {_STAMP}')}{HART}")

    def _code_entry(self, address: str) -> str:
        number = self.value(f"and i64 {self.value(f'lshr i64 {address}, 12')}, {CODE_TLB_ENTRIES - 1}")
        offset = self._plus(self.value(f"mul i64 {number}, {_CODE_TLB_ENTRY}"), field_offset("code_tlb"))
        return self.value(f"getelementptr i8, ptr {CPU}, i64 {offset}")

    def _pc(self, place: int) -> str:
        return self._plus(self.value("load i64, ptr %origin"), place)

    def _plus(self, value: str, number: int) -> str:
        return self.value(f"add i64 {value}, {_word(number)}") if number else value

    def _minus(self, value: str, number: int) -> str:
        return self._plus(value, -number)


def _is_floating(step: Step) -> bool:
    instruction = step.decoded.instruction
    return instruction.extension in FLOATING or (instruction.base is not None and instruction.base.extension in FLOATING)


def _word(number: int) -> str:
    return str(number & _MASK)


def _name(place: int) -> str:
    return str(place).replace("-", "m")


def module_of(region: Region, stamps: Mapping[int, int], *, multi: bool) -> str:
    """The LLVM module of a region, whose only function is SYMBOL."""
    return RegionEmitter(region, stamps, multi=multi).emit()


def pages_of(region: Region) -> Iterable[int]:
    """The pages that a region lies on."""
    return sorted({place // PAGE_SIZE for place in region.steps})
