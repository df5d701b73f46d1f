"""The console device of a machine booted from an image, between its guest and a person's console.

It has five ports: hvc0, and the four that guest/init speaks through: control (stages, progress and the exit code, a line each), stdin,
stdout and stderr of the command.
"""

from __future__ import annotations

import re

from gasang.core.console import Console, WindowSize
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.images.control import ControlPort

CONSOLE_PORT = "console"
_PANIC = re.compile(rb"Kernel panic - not syncing: ([ -~]{1,120})")


class Chatter:
    """Keeps the last of what nobody is shown."""

    KEPT = 1 << 16

    def __init__(self) -> None:
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        """More of it."""
        self._kept += data
        del self._kept[: -self.KEPT]

    def text(self) -> bytes:
        """What was kept."""
        return bytes(self._kept)

    def panic(self) -> str:
        """What the kernel last said it panicked over, as a part of a sentence; "" where it did not."""
        found = _PANIC.findall(self._kept)
        return f", by a kernel panic ({found[-1].decode('ascii', 'replace').strip()})" if found else ""


class GuestPorts:
    """The device and what it is connected to. `speaks`: the guest's console is the person's; else only `chatter` hears it."""

    def __init__(self, console: Console, control: ControlPort, *, speaks: bool) -> None:
        self.chatter = Chatter()
        self._console = console
        self._speaks = speaks
        self.device = VirtioConsole(
            [
                Port(CONSOLE_PORT, self._say, is_console=True),
                Port("gasang.control", control.take),
                Port("gasang.stdin", lambda data: None),
                Port("gasang.stdout", console.write),
                Port("gasang.stderr", console.write_error),
            ]
        )

    def _say(self, data: bytes) -> None:
        self.chatter.take(data)
        if self._speaks:
            self._console.write(data)

    def typed(self, data: bytes) -> None:
        """What the person types; b"" at the end of it."""
        if data:
            self.device.send(CONSOLE_PORT if self._speaks else "gasang.stdin", data)
        else:
            self.device.close("gasang.stdin")

    def resized(self, size: WindowSize) -> None:
        """The person's window has another size."""
        self.device.resize(size.columns, size.rows)
