"""The machine with a real KVM: QEMU's TCG with AMD-V in it, Debian's stock kernel, and a program of ours as all that runs there.

The program's second serial line comes here, a JSON object a line; the first is the console, kept in a file.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gasang.images.cpio import archive
from gasang.storage.tree import Entry, Kind
from support.nested.inputs import Inputs

ROOT: Final = Path(__file__).resolve().parents[3]
PROGRAM: Final = "qemu-system-x86_64"
PACKAGE: Final = "qemu-system-x86"
HOME: Final = "gasang"
"""Where this tree's files lie in the machine."""
_APPEND: Final = "console=ttyS0 loglevel=5 panic=-1 mitigations=off"
_LAST_WORDS: Final = 10.0
"""Seconds that QEMU may take to end once its output has."""
_INIT: Final = """\
#!/usr/bin/busybox sh
export PATH=/usr/bin:/bin PYTHONPATH=/{home}/src:/{home}/tests PYTHONDONTWRITEBYTECODE=1
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
busybox ip link set lo up
while read -r module; do busybox insmod /modules/$module.ko; done < /modules/order
cd /{home}
{command}
echo "<2>the program has ended with code $?" >/dev/kmsg
busybox poweroff -f
"""


class NestedError(Exception):
    """The machine did not do what it is there for; the message ends with what its console said last."""


def tree(*parts: str) -> Iterator[Entry]:
    """Files and folders of this tree, by their paths in it."""
    for part in parts:
        top = ROOT / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                yield Entry(path=str(path.relative_to(ROOT)), kind=Kind.FILE, mode=0o755, data=path.read_bytes())


def initramfs(command: str, files: Iterable[Entry]) -> bytes:
    """What is added to a root: `files` below HOME with their folders, and an init that runs `command` there."""
    folders: dict[str, None] = {HOME: None}
    placed = []
    for entry in files:
        path = f"{HOME}/{os.fsdecode(entry.path)}"
        folders |= dict.fromkeys(str(parent) for parent in reversed(Path(path).parents) if str(parent) != ".")
        placed.append(Entry(path=path, kind=entry.kind, mode=entry.mode, data=entry.data))
    made = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in folders]
    init = Entry(path="init", kind=Kind.FILE, mode=0o755, data=_INIT.format(home=HOME, command=command).encode())
    return archive([*made, *placed, init])


class LostError(NestedError):
    """The machine has fallen silent, or has ended before its program had."""


class Nested:
    """A running machine; use it as a context manager. Its files are in `folder`, which the caller takes away.

    With one processor nothing in it can race: with more, QEMU 7.2's TCG can lose a store of one to code that another translates. A kernel
    that patches itself stood still of it now and then, or was reset without a word.
    """

    def __init__(self, inputs: Inputs, ours: bytes, folder: Path, memory: int = 3072, cpus: int = 1) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise FileNotFoundError(f"{PROGRAM} is not installed (Debian: {PACKAGE})")
        self._log = folder / "console"
        initrd = folder / "initrd"
        with initrd.open("wb") as target, inputs.root.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)
            target.write(ours)
        self._process = subprocess.Popen(
            [
                program, "-accel", "tcg,thread=multi", "-cpu", "qemu64,+svm,+npt", "-smp", str(cpus), "-m", str(memory), "-nodefaults",
                "-display", "none", "-no-reboot", "-kernel", str(inputs.kernel), "-initrd", str(initrd), "-append", _APPEND,
                "-serial", f"file:{self._log}", "-serial", "stdio",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._waiting = b""
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def event(self, limit: float) -> dict[str, Any]:
        """What the program says next. Raises LostError where that takes over `limit` seconds, or the machine has ended."""
        end = time.monotonic() + limit
        while b"\n" not in self._waiting:
            if not self._selector.select(end - time.monotonic()):
                raise LostError(self._told(f"the machine has said nothing for {limit:.0f} s"))
            assert self._process.stdout is not None
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise LostError(self._told(f"the machine has ended: QEMU {self._ending()}"))
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _ending(self) -> str:
        try:
            code = self._process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            return "goes on"
        return f"ended with {f'code {code}' if code >= 0 else f'signal {-code}'}"

    def _told(self, what: str) -> str:
        said = self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""
        complaint = b""
        if self._process.poll() is not None and self._process.stderr is not None:
            complaint = self._process.stderr.read()
        return f"{what}; its console:\n{said}\n{complaint.decode(errors='replace')}"

    def close(self) -> None:
        """End it, if it runs."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
