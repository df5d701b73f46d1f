"""Runs one guest under a command (QEMU's or ours) and hands back what its console said."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guests.catalogue import Guest

SOURCES = Path(__file__).resolve().parents[2] / "src"
QEMU = "qemu-system-riscv64"
QEMU_DEVICES = {
    "rng": ("-device", "virtio-rng-device"),
    "console": ("-device", "virtio-serial-device"),
    "blk": ("-drive", "file=/dev/null,if=none,id=disk,format=raw,file.locking=off", "-device", "virtio-blk-device,drive=disk"),
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Lines of the console (no carriage returns), what the command said on stderr, its exit code, and what ended it: "itself", "terminate"
    (asked to at the time limit) or "kill" (deaf to that). `orphans` tells whether it left processes behind.
    """

    lines: list[str]
    stderr: str
    exit_code: int
    ended_by: str
    orphans: bool = False


def qemu_command(guest: Guest, elf: Path) -> list[str]:
    """The command that runs the guest under QEMU's virt machine."""
    command = [QEMU, "-M", "virt", "-nographic", "-bios", "default", "-smp", str(guest.harts), "-kernel", str(elf), *guest.qemu_options]
    command += ["-global", "virtio-mmio.force-legacy=false"]
    for device in guest.devices:
        command += QEMU_DEVICES[device]
    return [*command, "-append", guest.arguments] if guest.arguments else command


def gasang_command(guest: Guest, elf: Path, *disks: Path) -> list[str]:
    """The command that runs the guest under ours, with these disks."""
    start = [sys.executable, "-c", "import sys; from gasang.cli.main import main; sys.exit(main())"]
    command = [*start, "run", "--vm", "--cpus", str(guest.harts), "--memory", "128M", "--kernel", str(elf)]
    for disk in disks:
        command += ["--disk", str(disk)]
    return [*command, "--append", guest.arguments] if guest.arguments else command


def _end(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Wait for the process, then end it; what did it."""
    for how, act, patience in (("itself", None, deadline - time.monotonic()), ("terminate", process.terminate, 10.0)):
        if act:
            act()
        try:
            process.wait(max(0.0, patience))
        except subprocess.TimeoutExpired:
            continue
        return how
    process.kill()
    process.wait()
    return "kill"


def run_guest(command: Sequence[str], guest: Guest, limit: float | None = None) -> Outcome:
    """Run `command`, type what the guest wants once it says "ready", and wait for its end.

    After `limit` seconds (the guest's own if None) it is asked to end, then killed; nothing is left running.
    """
    deadline = time.monotonic() + (guest.limit if limit is None else limit)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])}
    output = bytearray()
    to_type = guest.types.encode()
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, env=env, start_new_session=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and selector.select(left):
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    break
                output += chunk
                if to_type and b"ready" in output:
                    process.stdin.write(to_type)
                    process.stdin.flush()
                    to_type = b""
        ended_by = _end(process, deadline)
        process.stdin.close()
        said.seek(0)
        stderr = said.read().decode(errors="replace")
    lines = output.decode(errors="replace").replace("\r", "").splitlines()
    return Outcome(lines, stderr, process.returncode, ended_by, _is_alive(process.pid))


def _is_alive(session: int) -> bool:
    """Whether a process of this group, which has lost its leader, still runs."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def failures(guest: Guest, outcome: Outcome) -> list[str]:
    """What the console should have said and did not; empty if all is well."""
    lines = iter(outcome.lines)
    wanted = (*guest.prints, *(["PASS"] if guest.ends else []))
    missing = [f"no line {want!r} (in this order)" for want in wanted if not any(line.strip() == want for line in lines)]
    if guest.ends and outcome.ended_by != "itself":
        missing.append("did not power off")
    return [*missing, *outcome.lines[-20:], *outcome.stderr.splitlines()[-5:]] if missing else []
