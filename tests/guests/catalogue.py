"""The tiny guests: what each needs and what it prints. One line a guest; the file's head comment says what it tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guest:
    """A bare-metal guest. One that `ends` prints PASS as its last line and powers off; any other may do whatever it likes."""

    source: str
    defines: tuple[str, ...] = ()
    harts: int = 1
    arguments: str = ""
    """The kernel's command line."""
    types: str = ""
    """What to type at the console once it has printed "ready"."""
    prints: tuple[str, ...] = ()
    """Lines it prints besides PASS, in this order."""
    ends: bool = True
    dies: str = ""
    """What the message says with which our machine ends at once, by itself."""
    limit: float = 30.0
    """Seconds after which it hangs."""
    devices: tuple[str, ...] = ()
    """virtio devices it wants: rng, console, blk. Of ours it always gets rng, and blk if it wants that."""
    qemu_options: tuple[str, ...] = ()
    qemu_differs: str = ""
    """Why QEMU 7.2 does not pass, if it does not."""


def _wild(dies: str, *defines: str, harts: int = 1) -> Guest:
    return Guest("wild.c", defines=defines, harts=harts, prints=("jumping into nowhere",), ends=False, dies=dies)


GUESTS: dict[str, Guest] = {
    "hello": Guest("hello.c", prints=("hello from a guest",)),
    "syscon": Guest("syscon.c"),
    "sbi": Guest("sbi.c"),
    "sbi_strict": Guest("sbi.c", defines=("STRICT",), qemu_differs="its OpenSBI 1.1 has SBI 1.0, without the debug console"),
    "traps": Guest("traps.c"),
    "traps_atomic": Guest("traps_atomic.c", qemu_differs="it reports faults of AMOs as those of loads"),
    "page_faults": Guest("page_faults.c"),
    "user": Guest("user.c"),
    "timer": Guest("timer.c"),
    "timer_sbi": Guest("timer.c", defines=("SBI_TIMER",)),
    "wfi": Guest("wfi.c", prints=("idle",)),
    "ipi": Guest("ipi.c", harts=2),
    "smc": Guest("smc.c"),
    "rfence": Guest("rfence.c", harts=2),
    "rfence_spinning": Guest(
        "rfence.c", defines=("SPINNING",), harts=2, qemu_differs="it translates the old code again between dropping it and storing"
    ),
    "amo": Guest("amo.c", harts=2),
    "lrsc": Guest("lrsc.c", harts=2),
    "aba": Guest("aba.c", harts=2, qemu_differs="its SC is a compare-and-swap"),
    "floating": Guest("floating.c"),
    "counters": Guest("counters.c", qemu_options=("-icount", "shift=0")),
    "sv39": Guest("mapping.c", defines=("MODE=8",)),
    "sv48": Guest("mapping.c", defines=("MODE=9",)),
    "sv57": Guest("mapping.c", defines=("MODE=10",)),
    "asid": Guest("asid.c"),
    "echo": Guest("echo.c", types="hello\nthere\nquit\n", prints=("echo: hello", "echo: there"), limit=10),
    "uart": Guest("uart.c", types="abcq", prints=("ready", "abcq"), limit=10),
    "virtio": Guest("virtio.c", devices=("console", "blk"), prints=("devices attacked",)),
    "virtio_strict": Guest(
        "virtio.c", defines=("STRICT",), devices=("blk",), prints=("devices attacked",), qemu_differs="it overlooks some of what is hostile"
    ),
    "garbage": Guest("garbage.c"),
    "garbage_more": Guest("garbage.c", arguments="seed=7 snippets=20000"),
    "havoc": Guest("havoc.c", prints=("running garbage",), ends=False),
    "havoc_dies": Guest("havoc.c", arguments="seed=2", prints=("running garbage",), ends=False, dies="hart 0: it can never go on"),
    "wild": _wild(
        "hart 0: it can never go on: its trap handler cannot be executed (fetch access fault, stval 0x10000000000, scause 1, "
        "sepc 0x10000000000, stvec 0x10000000000)"
    ),
    "wild_nested": _wild("hart 0: it can never go on: its trap handler leads to the same trap for ever (breakpoint", "NESTED"),
    "wild_returning": _wild("leads to the same trap for ever (fetch access fault, stval 0x20000000000, scause 1", "RETURNING"),
    "wild_paged": _wild("cannot be executed (fetch page fault, stval 0x10000000000, scause 12", "PAGED"),
    "wild_second": _wild("hart 1: it can never go on: its trap handler cannot be executed", "SECOND", harts=2),
}
