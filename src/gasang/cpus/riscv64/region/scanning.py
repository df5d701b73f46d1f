"""The text of a scan (scans.py): sixteen passes at a time, with what they leave in registers and memory; the rest is left to the run."""

from __future__ import annotations

from gasang.cpus.riscv64.region.layout import GUEST, field_offset
from gasang.cpus.riscv64.region.leaving import name_of, word
from gasang.cpus.riscv64.region.passes import PassEmitter
from gasang.cpus.riscv64.region.runs import Run
from gasang.cpus.riscv64.region.scans import WIDE, Address, Before, Byte, Leave, Place, Scan, Value, scan_of

_KIND = f"<{WIDE} x i8>"
_BITS = f"i{WIDE}"


class ScanEmitter(PassEmitter):
    """Emits scans."""

    scans: dict[int, Scan]

    def scans_of(self, runs: dict[int, Run]) -> dict[int, Scan]:
        """The runs that are scans, by head. With several harts each store has to look for reservations."""
        found = {head: scan_of(self.region, run) for head, run in runs.items()}
        return {head: scan for head, scan in found.items() if scan is not None and self._may_be(head, scan)}

    def _may_be(self, head: int, scan: Scan) -> bool:
        added = sum(1 << register for register, end in scan.ends.items() if isinstance(end, Address))
        return not (self.multi and scan.store) and not added & self.known_words.at(head)

    def passes_at(self, run: Run) -> str:
        """The label where the passes of a run begin."""
        return f"scan{name_of(run.head)}" if run.head in self.scans else super().passes_at(run)

    def begin_run(self, run: Run) -> None:
        """Not where the first pass leaves, as far as that is known without a load: two texts often differ in what comes first."""
        first = self.scans[run.head].leaves[0] if run.head in self.scans else None
        if first is None or isinstance(first.left, Byte) or isinstance(first.right, Byte):
            super().begin_run(run)
            return
        goes_on, at_once = self.label("on"), self.label("once")
        left, right = self._at_head(first.left), self._at_head(first.right)
        self.branch(self.value(f"icmp {'ne' if first.equal else 'eq'} i64 {left}, {right}"), goes_on, at_once)
        self.begin(goes_on)
        super().begin_run(run)
        self.jump(at_once)
        self.begin(at_once)

    def scan(self, run: Run, scan: Scan) -> None:
        """Emit a scan, which goes on with the run."""
        again, on = f"scan{name_of(run.head)}", f"run{name_of(run.head)}"
        self.stored, self.words = self.homes.stored(run.head), self.known_words.at(run.head)
        wide, plain, every, left, some = [self.label(name) for name in ("wide", "plain", "every", "left", "some")]
        self.begin(again)
        passes = self.value(f"load i64, ptr {run.counter}")
        self.branch(self.value(f"icmp ugt i64 {passes}, {WIDE}"), wide, on)
        self.begin(wide)
        hosts = [self._host(place) for place in scan.loads]
        found = [self._load(_KIND, host) for host in hosts]
        to = self._host(scan.store[0]) if scan.store else ""
        conditions = [self._is_apart(to, host) for host in hosts] if to else []
        leaving = "zeroinitializer"
        for leave in scan.leaves:
            leaving = self.value(f"or <{WIDE} x i1> {leaving}, {self._leaves(scan, leave, found, conditions)}")
        stored = self._wide(scan.store[1], found, [], signed=False) if scan.store else ""
        condition = "true"
        for one in conditions:
            condition = self.value(f"and i1 {condition}, {one}")
        self.branch(self.likely(condition), plain, on)
        self.begin(plain)
        bits = self.value(f"zext {_BITS} {self.value(f'bitcast <{WIDE} x i1> {leaving} to {_BITS}')} to i64")
        self.branch(self.value(f"icmp eq i64 {bits}, 0"), every, left)
        self.begin(every)
        ends = self._ends(run, scan, hosts, str(WIDE))
        if to:
            self.line(f"store {_KIND} {stored}, ptr {self._pointer(to)}, align 1{GUEST}")
        self._advance(run, scan, ends, str(WIDE))
        self.jump(again)
        self.begin(left)
        self.branch(self.value(f"trunc i64 {bits} to i1"), on, some)  # the first: nothing has been done
        self.begin(some)
        count = self.value(f"call i64 @llvm.cttz.i64(i64 {bits}, i1 true)")
        ends = self._ends(run, scan, hosts, count)
        if scan.store:
            value = scan.store[1]
            self._store_some(stored, hosts[value.number] if isinstance(value, Byte) else "", to, count)
        self._advance(run, scan, ends, count)
        self.jump(on)

    def _host(self, place: Place) -> str:
        return self.value(f"add i64 {self._address(place.address)}, {self.value(f'load i64, ptr {place.slot}')}")

    def _address(self, address: Address) -> str:
        return self.plus(self.kept_value("x", address.register), address.more) if address.register else str(address.more)

    def _at_head(self, value: Address | Before) -> str:
        """A value that is known before the first pass is made."""
        return self._address(Address(value.register) if isinstance(value, Before) else value)

    def _pointer(self, host: str) -> str:
        return self.value(f"inttoptr i64 {host} to ptr")

    def _load(self, kind: str, host: str) -> str:
        return self.value(f"load {kind}, ptr {self._pointer(host)}, align 1{GUEST}")

    def _is_apart(self, to: str, host: str) -> str:
        """Whether no pass loads what one of the fifteen before it has stored."""
        gap = self.value(f"sub i64 {self.value(f'sub i64 {to}, {host}')}, 1")
        return self.value(f"icmp uge i64 {gap}, {WIDE - 1}")

    def _leaves(self, scan: Scan, leave: Leave, found: list[str], conditions: list[str]) -> str:
        """Which passes leave there."""
        signed = any(byte.signed for byte in map(_byte_of, (leave.left, leave.right)) if byte is not None)
        left, right = [self._wide(value, found, conditions, signed=signed) for value in (leave.left, leave.right)]
        return self.value(f"icmp {'eq' if leave.equal else 'ne'} {_KIND} {left}, {right}")

    def _wide(self, value: Value, found: list[str], conditions: list[str], *, signed: bool) -> str:
        """A value in each of the passes; the conditions are those on which bytes tell it."""
        if isinstance(value, Byte):
            return found[value.number]
        whole = self._at_head(value)
        byte = self.value(f"trunc i64 {whole} to i8")
        conditions.append(self.value(f"icmp eq i64 {self.value(f'{_extended(signed)} i8 {byte} to i64')}, {whole}"))
        first = self.value(f"insertelement {_KIND} poison, i8 {byte}, i64 0")
        other, places = "poison", [0] * WIDE
        if isinstance(value, Before):
            other, places = found[value.byte.number], [0, *range(WIDE, 2 * WIDE - 1)]
        mask = ", ".join(f"i32 {place}" for place in places)
        return self.value(f"shufflevector {_KIND} {first}, {_KIND} {other}, <{WIDE} x i32> <{mask}>")

    def _store_some(self, stored: str, host: str, to: str, count: str) -> None:
        """Store the first bytes, fewer than WIDE, and no others: two pieces that may overlap."""
        done = self.label("stored")
        for size in (8, 4, 2, 1):
            here, less, kind = self.label("here"), self.label("less"), f"i{8 * size}"
            self.branch(self.value(f"icmp uge i64 {count}, {size}"), here, less)
            self.begin(here)
            back = self.value(f"sub i64 {count}, {size}")
            parts = f"<{WIDE // size} x {kind}>"
            first = self.value(f"extractelement {parts} {self.value(f'bitcast {_KIND} {stored} to {parts}')}, i64 0")
            last = self._load(kind, self.value(f"add i64 {host}, {back}")) if host else first
            self.line(f"store {kind} {first}, ptr {self._pointer(to)}, align 1{GUEST}")
            self.line(f"store {kind} {last}, ptr {self._pointer(self.value(f'add i64 {to}, {back}'))}, align 1{GUEST}")
            self.jump(done)
            self.begin(less)
        self.jump(done)
        self.begin(done)

    def _ends(self, run: Run, scan: Scan, hosts: list[str], count: str) -> dict[int, str]:
        """What registers have behind so many passes, one at least; to be had before the passes have stored anything."""
        last = self.value(f"sub i64 {count}, 1")
        ends: dict[int, str] = {}
        for register, end in scan.ends.items():
            if self.homes.lazy(run.head) >> register & 1:
                continue  # written again before anybody reads it
            if isinstance(end, Byte):
                byte = self._load("i8", self.value(f"add i64 {hosts[end.number]}, {last}"))
                value = self.value(f"{_extended(end.signed)} i8 {byte} to i64")
            else:
                passes = count if end.register == register else last
                step = self.value(f"mul i64 {passes}, {word(scan.step(end.register) or 0)}")
                more = 0 if end.register == register else end.more
                value = self.plus(self.value(f"add i64 {self._address(Address(end.register))}, {step}"), more)
            ends[register] = value
        return ends

    def _advance(self, run: Run, scan: Scan, ends: dict[int, str], count: str) -> None:
        """Have registers, the budget and the counter as they are behind so many passes."""
        for register, value in ends.items():
            if self.words >> register & 1:
                self.line(f"store i32 {self.value(f'trunc i64 {value} to i32')}, ptr {self.keep_word(register)}")
            else:
                self.line(f"store i64 {value}, ptr {self.keep(f'x{register}', field_offset('x') + 8 * register)}")
            if self.stored >> register & 1:
                self.write_back(value, field_offset("x") + 8 * register)
        for slot, each in (("%left", scan.length), (run.counter, 1)):
            taken = self.value(f"mul i64 {count}, {each}")
            left = self.value(f"sub i64 {self.value(f'load i64, ptr {slot}')}, {taken}")
            self.line(f"store i64 {left}, ptr {slot}")


def _byte_of(value: Value) -> Byte | None:
    return value if isinstance(value, Byte) else value.byte if isinstance(value, Before) else None


def _extended(signed: bool) -> str:
    return "sext" if signed else "zext"
