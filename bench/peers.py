"""The two that are compared: QEMU's virt machine under TCG, and ours. Each is a way to make a command line."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Peer:
    """A program that runs machines; `start` is the command without what to boot."""

    name: str
    start: tuple[str, ...]
    memory_flag: str
    disk_flags: str = "--disk %s"
    """Its options for a disk; the file takes the place of %s."""
    cpus_flag: str = "--cpus"

    def boot(
        self, kernel: Path, initrd: Path | None = None, append: str = "", memory: int = 512, disk: Path | None = None, cpus: int = 1
    ) -> list[str]:
        """The command that boots `kernel` with `memory` MiB and a console on stdin and stdout."""
        command = [*self.start, self.memory_flag, f"{memory}M", "--kernel", str(kernel)]
        if initrd is not None:
            command += ["--initrd", str(initrd)]
        if disk is not None:
            command += (self.disk_flags % disk).split()
        if cpus > 1:
            command += [self.cpus_flag, str(cpus)]
        return [*command, "--append", append] if append else command


def qemu() -> Peer | None:
    """QEMU, if it is installed (Debian: qemu-system-misc)."""
    found = shutil.which("qemu-system-riscv64")
    start = (found or "", "-M", "virt", "-nographic", "-bios", "default")
    disk = "-drive file=%s,format=raw,if=none,id=d -device virtio-blk-device,drive=d"
    return Peer("qemu", start, "-m", disk, "-smp") if found else None


def gasang(command: Sequence[str] = (), jit: str = "off") -> Peer:
    """Ours: this tree's sources, run as the installed command runs; `command` replaces that, `jit` says what becomes of hot code."""
    if not command:
        command = (sys.executable, "-c", "import sys; from gasang.cli.process import command; sys.exit(command())")
    return Peer("gasang", (*command, "run", "--vm", "--jit", jit), "--memory")


def environment(**changes: str) -> dict[str, str]:
    """What both run with: this tree's sources first, and Python's bytecode kept, as it is where gasang is installed."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), **changes}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _first_line(*command: str) -> str:
    if not shutil.which(command[0]):
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else "unknown"


def load() -> str:
    """The load average of the last minute: figures taken beside other work are worth little."""
    return f"{os.getloadavg()[0]:.1f}"


def host() -> dict[str, str]:
    """The machine measured on, where no QEMU is beside us."""
    return {name: value for name, value in machine().items() if name != "qemu"}


def machine() -> dict[str, str]:
    """The machine measured on, in words."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{_cpu_model()}, {os.cpu_count()} cores",
        "load before": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "qemu": _first_line("qemu-system-riscv64", "--version"),
        "gasang": _first_line("git", "describe", "--always", "--dirty"),
    }
