"""``gasang trace``: what a machine executes, from its first instruction on."""

from __future__ import annotations

import sys
import threading

from gasang.cli.console import StreamConsole
from gasang.cli.files import file_to_read
from gasang.cli.options import Argument, Example, Option, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.config import parse_cpus, parse_memory
from gasang.core.errors import UsageError


def _count(text: str, subject: str) -> int:
    """A number of instructions or events."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError(subject, f"{text!r} is no count", "write a whole number")
    return int(text)


SORTS: dict[str, Option[bool]] = {
    "instruction": switch("instructions", "each instruction, with the registers it changed"),
    "trap": switch("traps", "exceptions and interrupts"),
    "exit": switch("exits", "device accesses, firmware calls and waits; alone, the machine runs at full speed"),
}
SKIP = value("skip", "N", "let each processor run N instructions at full speed before instructions and traps are shown", _count)
LIMIT = value("limit", "N", "end the machine after N lines", _count)
INITRD = value("initrd", "FILE", "initial RAM disk", file_to_read, files=True)
APPEND = value("append", "TEXT", "kernel command line", plain_text)
CPUS = value("cpus", "N", "processors", parse_cpus)
MEMORY = value("memory", "SIZE", "memory, as in 512M or 2G", parse_memory, short="m")

SYNTAX = Syntax(
    "Show what a machine executes, from its first instruction on.",
    options=(*SORTS.values(), SKIP, LIMIT, INITRD, APPEND, CPUS, MEMORY, FORMAT),
    arguments=(Argument("KERNEL", "a riscv64 Linux kernel or other program for S-mode: Image, Image.gz or ELF", completes="files"),),
    examples=(
        Example("gasang trace --limit 100 Image", "the first hundred instructions, traps and exits of a kernel"),
        Example("gasang trace --exits --append console=ttyS0 Image", "what it asks of devices and firmware, at full speed"),
        Example("gasang trace --traps --skip 5000000 --limit 20 --format jsonl Image", "twenty traps later on, for a program"),
    ),
    notes="Without --instructions, --traps or --exits all three are shown. What the guest prints goes to standard error.",
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


def run(parsed: Parsed, context: Context) -> int:
    """Run the machine until it powers off or enough is shown."""
    form = parsed.get(FORMAT)
    if form in ("json", "table", "name"):
        raise UsageError(f"--format {form}", "a trace is a stream", "use jsonl or a template")
    render(form, COLUMNS, [])
    name, initrd = parsed.arguments[0], parsed.get(INITRD)
    kernel_data = file_to_read(name, "kernel").read_bytes()
    initrd_data = initrd.read_bytes() if initrd else b""

    from gasang.accel.soft.tracer import Event, Tracer, What
    from gasang.images.initrd import unpacked_size
    from gasang.kinds.vm.board import RAM_BASE
    from gasang.kinds.vm.loader import load_kernel
    from gasang.kinds.vm.machine import Parts, VirtualMachine

    if initrd:
        unpacked_size(initrd_data, str(initrd))

    printer = Printer(form, parsed.get(LIMIT))

    def tell(event: Event) -> None:
        printer.write({**event._asdict(), "what": event.what.value})
        if printer.enough.is_set():
            machine.stop()

    with StreamConsole(raw=False, reads_input=False) as console:
        parts = Parts(
            cpus=parsed.get(CPUS) or context.config.value("cpus"),
            memory=parsed.get(MEMORY) or context.config.value("memory"),
            kernel=load_kernel(kernel_data, name, RAM_BASE),
            initrd=initrd_data,
            append=parsed.get(APPEND) or "",
            serial=console.write_error,
        )
        machine = VirtualMachine(parts)
        wanted = frozenset(What(sort) for sort, option in SORTS.items() if parsed.get(option)) or frozenset(What)
        Tracer(machine.machine, wanted, tell, parsed.get(SKIP) or 0)
        console.on_quit(machine.stop)
        machine.start()
        machine.join()
    if printer.failure:
        raise printer.failure
    return console.leave_code
