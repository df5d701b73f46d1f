"""Ways to a line: what is made of registers and the budget before it is begun, and the looks of heads that are made ahead (ahead.py)."""

from __future__ import annotations

from gasang.cpus.riscv64.region.homes import names
from gasang.cpus.riscv64.region.leaving import name_of
from gasang.cpus.riscv64.region.lines import LineEmitter


class HeadEmitter(LineEmitter):
    """Emits what is before a line."""

    def as_words(self, place: int) -> None:
        """Have what is known to hold words where the region is begun as words; pass if it does not."""
        self.words = 0
        for name in names(self.known_words.at(place)):
            value = self.kept_value(name[0], int(name[1:]))
            low, fits = self.value(f"trunc i64 {value} to i32"), self.label("fits")
            self.branch(self.value(f"icmp eq i64 {self.value(f'sext i32 {low} to i64')}, {value}"), fits, f"pass{name_of(place)}")
            self.begin(fits)
            self.line(f"store i32 {low}, ptr {self.keep_word(int(name[1:]))}")

    def check(self, place: int) -> None:
        """Go on at a place if the budget lasts until the next check: %left is what it is less that; else poll first."""
        less = self.value(f"icmp slt i64 {self.value('load i64, ptr %left')}, 0")
        self.branch(self.value(f"call i1 @llvm.expect.i1(i1 {less}, i1 false)"), f"poll{name_of(place)}", self.on(place))

    def on(self, place: int) -> str:
        """The label where a place goes on behind its poll."""
        return f"{'look' if place in self.ahead else 'line'}{name_of(place)}"

    def look_ahead(self, place: int) -> None:
        """The looks of a head for those who come from outside or from its poll, with nothing to put away."""
        self.begin(f"look{name_of(place)}")
        self._looks(place, f"second{name_of(place)}")

    def _looks(self, place: int, apart: str) -> None:
        """Make the looks of a head, and pass it."""
        ahead = self.ahead[place]
        for number, group in enumerate(ahead.looks):
            assert group.register is not None
            start = self.kept_value("x", group.register) if group.register else "0"
            found = self.look(group, self.value(f"add i64 {start}, {group.low}"), apart)
            self.line(f"store i64 {found}, ptr {ahead.slot(place, number)}")
        self.jump(f"line{name_of(place)}")

    def pass_head(self, place: int) -> None:
        """Go on at a head, if the budget lasts and its accesses are found; else put away first what is needed only then."""
        less, on, poll, apart = self.value(f"icmp slt i64 {self.value('load i64, ptr %left')}, 0"), self.label("on"), self.label("few"), ""
        self.branch(self.value(f"call i1 @llvm.expect.i1(i1 {less}, i1 false)"), poll, on)
        self.begin(on)
        ways = [(poll, f"poll{name_of(place)}")]
        if self.ahead[place].looks:
            apart = self.label("lost")
            ways.append((apart, f"second{name_of(place)}"))
        self._looks(place, apart)
        stored, lazy = self.stored, self.homes.lazy(place)
        for label, to in ways:
            self.stored = stored
            self.begin(label)
            self.put_away_anew(lazy & ~stored)
            self.put_away(lazy & ~self.stored, apart=True)
            self.jump(to)

    def widen(self, registers: int) -> None:
        """Have registers that are kept as words here as what they are kept as where this goes on."""
        for name in names(registers):
            self.line(f"store i64 {self.kept_value(name[0], int(name[1:]))}, ptr %kept.{name}")
