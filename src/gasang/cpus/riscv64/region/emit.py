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

from gasang.cpus.instruction_set import Result
from gasang.cpus.riscv64.execute import enter as handler
from gasang.cpus.riscv64.handlers import FLOATING
from gasang.cpus.riscv64.region.accesses import OURS, RESERVATIONS, SHARED, WINDOWS_SIZE
from gasang.cpus.riscv64.region.ahead import heads_ahead
from gasang.cpus.riscv64.region.anew import behind_lines
from gasang.cpus.riscv64.region.bodies import KNOWN
from gasang.cpus.riscv64.region.circles import circles_around
from gasang.cpus.riscv64.region.homes import Homes, names
from gasang.cpus.riscv64.region.layout import CPU, HART, METADATA, field_offset
from gasang.cpus.riscv64.region.leaving import BASE_AT, name_of, word
from gasang.cpus.riscv64.region.pages import Step, guest_place
from gasang.cpus.riscv64.region.runs import Run, runs_of
from gasang.cpus.riscv64.region.scanning import ScanEmitter
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.region.skips import skips_of
from gasang.cpus.riscv64.region.symbol import SYMBOL
from gasang.cpus.riscv64.region.words import Words
from gasang.cpus.riscv64.regions import CLOSE_WINDOWS, FIND_PAGE, POLL_REGION
from gasang.cpus.riscv64.state import PAGE_MASK, PAGE_SIZE, Shared
from gasang.cpus.riscv64.windows import WINDOWS
from gasang.native.emit_function import ATTRIBUTES
from gasang.native.types import offset_of


class RegionEmitter(ScanEmitter):
    """Emits one region. `stamps` are those of the pages it lies on."""

    poll_helper = POLL_REGION

    def __init__(self, region: Region, stamps: Mapping[int, int], *, multi: bool) -> None:
        self._floating = any(_is_floating(step) for step in region.steps.values())
        super().__init__(handler, self._floating, multi)
        self.region = region
        self.stamps = dict(stamps)
        self.windows = sum(self.stamps.values()) % (WINDOWS // 2)  # so that regions do not all use the same
        self.anew, self.run = None, None
        self.is_second = False
        self.prepare()
        for head, ahead in self.ahead.items():
            self.slots += [f"  {ahead.slot(head, number)} = alloca i64, align 8" for number in range(len(ahead.looks))]
        for run in self.runs.values():
            self.slots += [f"  {slot} = alloca i64, align 8" for slot in (run.counter, *(stretch.slot for stretch in run.stretches))]
        self.written = self.homes.written
        for name in ("left", "at", "where", "pc", "place"):
            self.slots.append(f"  %{name} = alloca i64, align 8")
        for page in self.stamps:
            self.slots.append(f"  %base.{name_of(page)} = alloca i64, align 8")
        self.slots.append("  %origin = alloca i64, align 8")

    def prepare(self) -> None:
        """What is known of the region as a whole."""
        region = self.region
        self.plans, self.ahead = heads_ahead(region)
        circles = circles_around(region, self.ahead)
        self.homes = Homes(region, {head: ahead.overwritten for head, ahead in self.ahead.items()}, circles)
        self.known_words = Words(region, self.homes)
        self.anews = behind_lines(region, circles, self.homes, self.known_words)
        self.skips = skips_of(region)
        self.runs = runs_of(region, self.plans)
        self.scans = self.scans_of(self.runs)

    def keep_all(self) -> None:
        """Keep what is written."""
        if self._floating:
            self.keep("fs", field_offset("fs"))
        for name in names(self.written):
            self.keep(name, field_offset(name[0]) + 8 * int(name[1:]))

    def emit(self) -> str:
        """The module's text."""
        self.keep_all()
        self.open = False
        self._body()
        self.ends()
        body, self.lines = self.lines, []
        self.open = True
        self._begin()
        head = f"define preserve_nonecc void @{SYMBOL}(ptr {CPU}, ptr %record, i64 %budget) {ATTRIBUTES}{self.strict}"
        return "\n".join([head + " {", "entry:", *self.slots, *self.lines, *body, "}", METADATA])

    # ------------------------------------------------------------------ the way in

    def _begin(self) -> None:
        self.line(f"%code.base = load i64, ptr {self.of_cpu('code_base')}{HART}")
        self.line(f"%code.bias = load i64, ptr {self.of_cpu('code_bias')}{HART}")
        for name in sorted(KNOWN):
            self.line(f"%known.{name} = load i64, ptr {self.of_cpu(name)}{HART}")
        self.line(f"%windows.at = mul i64 %known.privilege, {WINDOWS_SIZE}")
        self.line(f"%windows.base = getelementptr i8, ptr {self.of_cpu('windows')}, i64 %windows.at")
        self.line(f"{OURS} = getelementptr i8, ptr %windows.base, i64 0")
        if self.multi:
            self.line(f"{SHARED} = load ptr, ptr {self.of_cpu('shared')}{HART}")
            self.line(f"{RESERVATIONS} = getelementptr i8, ptr {SHARED}, i64 {offset_of(Shared, 'reservations')}")
        pages = sorted({place // PAGE_SIZE for place in self.region.entries})
        stamp = self.stamp_at("%code.base")
        cases = " ".join(f"i64 {word(self.stamps[page])}, label %anchor{name_of(page)}" for page in pages)
        self.terminate(f"switch i64 {stamp}, label %strange [ {cases} ]")
        for page in pages:
            self._anchor(page)
        self._registers()
        self._pass()
        self.begin("strange")  # the record is the region's no more: it is decoded anew
        fresh = self.value(f"load ptr, ptr {self.of_cpu('dispatch')}{HART}")
        handler_word = self.value(f"load i64, ptr {fresh}{HART}")
        self.line(f"store i64 {handler_word}, ptr %record{HART}")
        self.go(self.value(f"inttoptr i64 {handler_word} to ptr"), "%record", "%budget")

    def _anchor(self, page: int) -> None:
        """The region was begun on `page`: note where the others are, if they are what they were."""
        self.begin(f"anchor{name_of(page)}")
        index = self.value(f"sub i64 {self.value('ptrtoint ptr %record to i64')}, %code.base")
        offset = self.value(f"lshr i64 {index}, 3")
        self.line(f"store i64 {self.plus(offset, page * PAGE_SIZE)}, ptr %place")
        here = self.value(f"add i64 {self.value('lshr i64 %code.base, 3')}, %code.bias")
        here = self.value(f"and i64 {here}, {PAGE_MASK}")  # which it is: LLVM then knows that a return address has no bit to be cleared
        origin = self.plus(here, -page * PAGE_SIZE)
        self.line(f"store i64 {origin}, ptr %origin")
        self.line(f"store i64 %code.base, ptr %base.{name_of(page)}")
        for other in self.stamps:
            if other != page:
                self._other_page(origin, other)
        self.jump("ready")

    def _other_page(self, origin: str, page: int) -> None:
        start = self.plus(origin, page * PAGE_SIZE)
        entry = self.code_entry(start)
        tag = self.value(f"load i64, ptr {entry}{HART}")
        known, unknown = self.label("known"), self.label("unknown")
        self.branch(self.value(f"icmp eq i64 {tag}, {self.value(f'or i64 {start}, %known.context')}"), known, unknown)
        self.begin(unknown)
        found = self.value(f"call preserve_mostcc i64 {self.helper(FIND_PAGE)}(ptr {CPU}, i64 {start}, i64 0)")
        self.branch(self.value(f"icmp ne i64 {found}, 0"), known, "pass")
        self.begin(known)
        base = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {BASE_AT}')}{HART}")
        same = self.label("same")
        self.branch(self.value(f"icmp eq i64 {self.stamp_at(base)}, {word(self.stamps[page])}"), same, "pass")
        self.begin(same)
        self.line(f"store i64 {base}, ptr %base.{name_of(page)}")

    def _registers(self) -> None:
        self.begin("ready")
        if self._floating:
            fs = self.value(f"load i64, ptr {self.of_cpu('fs')}{HART}")
            on = self.label("on")
            self.branch(self.value(f"icmp ne i64 {fs}, 0"), on, "pass")
            self.begin(on)
        for slot, offset in self.kept.items():
            value = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {CPU}, i64 {offset}')}{HART}")
            self.line(f"store i64 {value}, ptr {slot}")
        self.open_windows()
        cases = " ".join(f"i64 {word(place)}, label %enter{name_of(place)}" for place in self.region.entries)
        self.terminate(f"switch i64 {self.value('load i64, ptr %place')}, label %strange [ {cases} ]")

    def open_windows(self) -> None:
        """Have the windows closed if they are another context's."""
        valid = self.value(f"load i64, ptr {OURS}{HART}")
        closed, ours = self.label("closed"), self.label("ours")
        self.branch(self.value(f"icmp eq i64 {valid}, %known.context"), ours, closed)
        self.begin(closed)
        self.value(f"call preserve_mostcc i64 {self.helper(CLOSE_WINDOWS)}(ptr {CPU}, i64 0, i64 0)")
        self.jump(ours)
        self.begin(ours)

    def _pass(self) -> None:
        """Not now: the interpreter's handler of the instruction."""
        self.begin("pass")
        cases = " ".join(f"i64 {word(place)}, label %pass{name_of(place)}" for place in self.region.entries)
        self.terminate(f"switch i64 {self.value('load i64, ptr %place')}, label %strange [ {cases} ]")
        for place in self.region.entries:
            self.begin(f"pass{name_of(place)}")
            self.go(self.own_handler(place), "%record", "%budget")

    # ------------------------------------------------------------------ the instructions

    def _body(self) -> None:
        region = self.region
        for place in region.entries:
            self.begin(f"enter{name_of(place)}")
            self.as_words(place)
            self.account("add", "%budget")
            self.line(f"store i64 {self.minus('%budget', region.ways[place])}, ptr %left")
            self.stored, self.words = self.homes.written, self.known_words.at(place)
            self.check(place)
        for leader in sorted(region.leaders - self.skips.keys()):
            self.anew = None
            self.stored, self.words = self.homes.stored(leader), self.known_words.at(leader)
            if leader in region.heads or leader in region.entries:
                self.stored |= self.homes.lazy(leader)
                self._poll(leader)
            if leader in self.ahead:
                self.look_ahead(leader)
            self.begin(f"line{name_of(leader)}")
            self._line_from(leader)
        for run in self.runs.values():
            self._run(run)

    def _poll(self, place: int) -> None:
        """Poll before going on at a place, or leave."""
        need = self.region.ways[place]
        self.begin(f"poll{name_of(place)}")
        left = self.value("load i64, ptr %left")
        fresh = self.value(f"call preserve_mostcc i64 {self.helper(self.poll_helper)}(ptr {CPU}, i64 {self.plus(left, need)}, i64 0)")
        refreshed = self.label("refreshed")
        self.branch(self.value(f"icmp uge i64 {fresh}, {need}"), refreshed, self.exit_to(place, left, need))
        self.begin(refreshed)
        self.line(f"store i64 {self.minus(fresh, need)}, ptr %left")
        self.jump(self.on(place))

    def _line_from(self, leader: int) -> None:
        """The instructions from a leader to the next, and where they go on."""
        self._on_from(*self.line_from(leader))
        if leader in self.ahead and self.ahead[leader].looks:
            self.is_second = True
            self._on_from(*self.second_from(leader))
            self.is_second = False

    def _run(self, run: Run) -> None:
        """The lines of a run without looks."""
        if run.head in self.scans:
            self.scan(run, self.scans[run.head])
        self.run = run
        for leader in run.lines:
            self.begin(f"run{name_of(leader)}")
            self._on_from(*self.pass_line(run, leader))
        self.run = None

    def _on_from(self, last: Step, result: str, rest: str, way: int) -> None:
        if last.decoded.instruction.result is Result.FALLTHROUGH:
            self._to(last.after, rest, way)
        else:
            self._go_on(last, result, rest, way)

    def _go_on(self, step: Step, result: str, rest: str, way: int) -> None:
        if step.decoded.instruction.result is Result.BRANCH:
            assert step.target is not None
            if self.skips.get(step.after) == step.place:
                self.anew = None
                self._to(step.target, self.skip(result, step.after, step.target, rest), way)
                return
            taken, other = self.label("taken"), self.label("other")
            self.branch(result, taken, other)
            self.begin(taken)
            self._to(step.target, rest, way)
            self.begin(other)
            self._to(step.after, rest, way)
        elif step.target is not None:
            self._to(step.target, rest, way)
        else:
            self._indirect(step, result, rest, way)

    def _indirect(self, step: Step, target: str, rest: str, way: int) -> None:
        inside = self.region.goes_on(step)
        self.line(f"store i64 {self.plus(rest, way)}, ptr %left")
        self.line(f"store i64 {target}, ptr %pc")
        if not inside:
            self.jump(self.away_to("far"))
            return
        distance = self.value(f"sub i64 {target}, {self.value('load i64, ptr %origin')}")
        labels = {place: self.label("to") for place in inside}
        cases = " ".join(f"i64 {word(guest_place(place))}, label %{label}" for place, label in labels.items())
        self.terminate(f"switch i64 {distance}, label %{self.away_to('far')} [ {cases} ]")
        for place, label in labels.items():
            self.begin(label)
            self._to(place, rest, way)

    def _to(self, place: int, rest: str, way: int) -> None:
        """Go on at a place, inside or not, with a budget of `rest` and `way`."""
        if place in self.region.steps:
            stored = self.stored
            if self.anew is not None and place not in self.anew.circle:
                self.have_anew(self.written & ~stored & ~self.homes.live(place))
            self.put_away((self.homes.away(place) | (self.homes.lazy(place) if self.is_second else 0)) & ~stored)
            self.widen(self.words & ~self.known_words.at(place) & ~self.homes.lazy(place))
            self.line(f"store i64 {self.plus(rest, way - self.region.ways[place])}, ptr %left")
            self.forth(place)
            self.stored = stored  # on the other ways on it has not been
            return
        stored = self.stored
        self.put_away_anew(self.written & ~stored)
        if guest_place(place) // PAGE_SIZE in self.stamps:
            self.jump(self.exit_to(place, rest, way))
        else:
            self.line(f"store i64 {self.plus(rest, way)}, ptr %left")
            self.line(f"store i64 {self.pc_of(place)}, ptr %pc")
            self.jump(self.away_to("far"))
        self.stored = stored


def _is_floating(step: Step) -> bool:
    instruction = step.decoded.instruction
    return instruction.extension in FLOATING or (instruction.base is not None and instruction.base.extension in FLOATING)


def pages_of(region: Region) -> Iterable[int]:
    """The pages that a region lies on."""
    return sorted({place // PAGE_SIZE for place in region.places})
