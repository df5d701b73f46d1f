"""Debian at its prompt, in this process, with a screen that tests and measurements read and type at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.core.console import WindowSize
from gasang.core.progress import Silent
from gasang.kinds.vm import launch
from gasang.kinds.vm.extras import NOTHING, Extras

if TYPE_CHECKING:  # screens are wanted where there is no software machine, too
    from gasang.kinds.vm.machine import VirtualMachine

IMAGE = "debian:trixie"
PROMPT = b":/# "
BOOT_SECONDS = 240.0


class Screen:
    """A console (core.console): what the guest wrote, and keys."""

    def __init__(self) -> None:
        self.quit: Callable[[], None] = lambda: None
        self.type: Callable[[bytes], object] = lambda data: None
        self.renew()

    def renew(self) -> None:
        """Forget everything, and whose locks are held: in a forked process nobody else holds them."""
        self.shown = bytearray()
        self._changed = threading.Condition()

    def write(self, data: bytes) -> None:
        """More of it."""
        with self._changed:
            self.shown += data
            self._changed.notify_all()

    write_error = write

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """Whoever types, types there."""
        self.type = callback

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """It has no size."""

    def on_quit(self, callback: Callable[[], None]) -> None:
        """How to leave."""
        self.quit = callback

    def wait_for(self, words: bytes, seconds: float = 60.0) -> None:
        """Return when the guest has written `words`; raise TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: words in self.shown, seconds):
                raise TimeoutError(f"no {words!r} in {bytes(self.shown)!r}")

    def ask(self, command: str, seconds: float = 60.0) -> str:
        """What a command of the guest's shell writes to its terminal."""
        with self._changed:
            self.shown.clear()
        self.type(f"echo $((7*382))begin; {command}; echo $((7*191))end\n".encode())
        self.wait_for(b"1337end", seconds)
        with self._changed:
            text = self.shown.decode("utf-8", "replace").replace("\r", "")
        return text.partition("2674begin\n")[2].partition("1337end")[0].strip()


@contextmanager
def debian_at_its_prompt(
    cpus: int = 1, memory: int = 512 << 20, sockets: Path | None = None, extras: Extras = NOTHING
) -> Iterator[tuple[VirtualMachine, Screen]]:
    """The machine and its screen; GASANG_HOME has the image. With a folder for `sockets` it has the guest agent."""
    screen, met = Screen(), []
    spec = launch.VmSpec(
        cpus, memory, None, None, "", IMAGE, (), (), tty=False, disks=(), watch=met.append, architecture="riscv64", sockets=sockets,
        extras=extras,
    )  # fmt: skip
    thread = threading.Thread(target=launch.run_vm, args=(spec, screen, Silent()), name="debian")
    thread.start()
    try:
        screen.wait_for(PROMPT, BOOT_SECONDS)
        yield met[0], screen
    finally:
        screen.quit()
        thread.join()
