"""``gasang trace``: what a machine executes, from its first instruction on: one of an image, or of a kernel."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.cli.console import StreamConsole
from gasang.cli.files import file_to_read
from gasang.cli.options import Argument, Example, Option, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import Column, Row, render
from gasang.cli.progress import open_progress
from gasang.cli.regions import COLUMNS as REGION_COLUMNS
from gasang.cli.regions import rows, summary
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.config import parse_cpus, parse_memory
from gasang.core.console import WindowSize
from gasang.core.errors import UsageError

if TYPE_CHECKING:
    from gasang.kinds.vm.base import AnyMachine


def _count(text: str, subject: str) -> int:
    """A number of instructions or events."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError(subject, f"{text!r} is no count", "write a whole number")
    return int(text)


SORTS: dict[str, Option[bool]] = {
    "instruction": switch("instructions", "each instruction, with the registers it changed"),
    "trap": switch("traps", "exceptions and interrupts"),
    "exit": switch("exits", "device accesses, firmware calls and waits"),
}
REGIONS = switch("jit", "at the end, the regions of hot code that were compiled, each checked against the interpreter")
SKIP = value("skip", "N", "let each processor run N instructions at full speed before anything is shown", _count)
LIMIT = value("limit", "N", "end the machine after N lines", _count)
INITRD = value("initrd", "FILE", "initial RAM disk of a kernel", file_to_read, files=True)
APPEND = value("append", "TEXT", "kernel command line", plain_text)
CPUS = value("cpus", "N", "processors", parse_cpus)
MEMORY = value("memory", "SIZE", "memory, as in 512M or 2G", parse_memory, short="m")

SYNTAX = Syntax(
    "Show what a machine executes, from its first instruction on.",
    options=(*SORTS.values(), REGIONS, SKIP, LIMIT, INITRD, APPEND, CPUS, MEMORY, FORMAT),
    arguments=(Argument("THING", "an image, or a kernel or other program for S-mode: Image, Image.gz or ELF", completes="files"),),
    command="run this inside; only an image can",
    examples=(
        Example("gasang trace --limit 100 Image", "the first hundred instructions, traps and exits of a kernel"),
        Example("gasang trace --exits debian:trixie -- true", "what Debian asks of devices and firmware"),
        Example("gasang trace --jit debian:trixie -- true", "which code becomes hot, how much of the run it is, and why it is left"),
        Example("gasang trace --traps --skip 300000000 --limit 20 --format jsonl Image", "twenty traps later on, for a program"),
    ),
    notes="""
Without --instructions, --traps or --exits all three are shown. To show instructions the machine executes one at a time,
some ten thousand times slower; the others cost little. What the guest prints goes to standard error.

--jit alone shows nothing but the table of regions: instructions (STEPS), runs, instructions executed in
them, and runs by the reason for which they ended: "elsewhere" code outside the region, "far" code on another page, "poll"
the budget between two looks at interrupts, "load", "store", "atomic", "float" and "system" an instruction that the interpreter must see to,
"passed" it could not begin. Each run is repeated: the machine is up to five times slower.""",
)

COLUMNS = (
    Column("hart", "HART"),
    Column("number", "NUMBER"),
    Column("what", "WHAT"),
    Column("mode", "MODE"),
    Column("pc", "PC", hex),
    Column("text", "TEXT"),
)


class Printer:
    """Writes events as lines and calls `enough` once when `limit` have been written. Called from the harts' threads."""

    def __init__(self, form: str | None, limit: int | None) -> None:
        self._form = form
        self._left = limit
        self._lock = threading.Lock()
        self.enough = threading.Event()
        self.failure: OSError | None = None

    def line(self, row: Row) -> str:
        """An event as a line."""
        if self._form is None:
            return "{hart} {number:>9} {mode} {pc:#018x}  {text}\n".format_map(row)
        return render(self._form, COLUMNS, [row])

    def write(self, row: Row) -> None:
        """Write an event, unless it is one too many."""
        with self._lock:
            if self.enough.is_set():
                return
            try:
                sys.stdout.write(self.line(row))
            except OSError as error:  # told by the main thread: this one belongs to a processor
                self.failure = error
                self.enough.set()
                return
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self.enough.set()


def _is_file(word: str) -> bool:
    """Whether a word means a file: there is one, or it could be nothing else."""
    return Path(word).exists() or word.startswith(("/", "./", "../"))


def _check(parsed: Parsed, is_kernel: bool) -> None:
    """Raise UsageError for what makes no sense together."""
    if is_kernel and parsed.command:
        raise UsageError("command", "only an image can run one", 'tell a kernel what to run with --append "init=…"')
    if not is_kernel and parsed.get(INITRD):
        raise UsageError("option --initrd", "an image has its own", "leave it out, or trace a kernel")


class _Aside:
    """The guest's console beside the trace: all that the guest says goes to standard error, and nobody types."""

    def __init__(self, console: StreamConsole) -> None:
        self.write = self.write_error = console.write_error
        self.on_quit = console.on_quit

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """There is no input."""
        callback(b"")

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """There is no window."""


def _show_regions(form: str | None, machines: list[AnyMachine]) -> None:
    """What machines that have ended leave behind."""
    for vm in machines:
        report = vm.machine.regions.report()
        sys.stdout.write(render(form, REGION_COLUMNS, rows(report)))
        if form in (None, "table"):
            sys.stdout.write(summary(report))


def run(parsed: Parsed, context: Context) -> int:
    """Run the machine until it powers off or enough is shown."""
    from gasang.accel.soft.tracer import What

    form, shows_regions = parsed.get(FORMAT), parsed.get(REGIONS)
    asked = [What(sort) for sort, option in SORTS.items() if parsed.get(option)]
    if shows_regions and asked:
        raise UsageError("option --jit", "regions are a list, events a stream", "show one of the two")
    if form in ("json", "table", "name") and not shows_regions:
        raise UsageError(f"--format {form}", "a trace is a stream", "use jsonl or a template")
    render(form, REGION_COLUMNS if shows_regions else COLUMNS, [])
    thing, initrd = parsed.arguments[0], parsed.get(INITRD)
    is_kernel = _is_file(thing)
    _check(parsed, is_kernel)

    from gasang.accel.soft.tracer import Event, Tracer
    from gasang.kinds.vm.launch import VmSpec, run_vm
    from gasang.kinds.vm.names import BoardNames

    printer = Printer(form, parsed.get(LIMIT))
    wanted = frozenset(asked) or frozenset(What)
    machines: list[AnyMachine] = []

    def watch(vm: AnyMachine) -> None:
        if shows_regions:
            machines.append(vm)
            return

        def tell(event: Event) -> None:
            printer.write({**event._asdict(), "what": event.what.value})
            if printer.enough.is_set():
                vm.stop()

        Tracer(vm.machine, wanted, tell, parsed.get(SKIP) or 0, BoardNames(vm.board.bus))

    spec = VmSpec(
        cpus=parsed.get(CPUS) or context.config.value("cpus"),
        memory=parsed.get(MEMORY) or context.config.value("memory"),
        kernel=file_to_read(thing, "kernel") if is_kernel else None,
        initrd=initrd,
        append=parsed.get(APPEND) or "",
        image=None if is_kernel else thing,
        command=parsed.command,
        environment=(),
        tty=False,
        disks=(),
        origin=context.origin(),
        watch=watch,
        architecture="riscv64",
        accelerator="soft",
        jit="check" if shows_regions else "off",
    )
    with open_progress(context) as progress, StreamConsole(raw=False, reads_input=False) as console:
        try:
            code = run_vm(spec, _Aside(console), progress)
        finally:
            _show_regions(form, machines)
    if printer.failure:
        raise printer.failure
    if console.left is not None:
        return console.leave_code
    return 0 if printer.enough.is_set() else code
