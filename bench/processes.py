"""Runs machines and looks at them from outside: wall time, CPU time and memory of a process and its children (Linux's /proc)."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import environment
from bench.terminal import Terminal


class MachineError(Exception):
    """A machine that did not do what the measurement needs; the message ends with what its console said last."""


@dataclass(frozen=True)
class Run:
    """A finished run: seconds of wall time, seconds of CPU, and the console's text."""

    wall: float
    cpu: float
    output: str


class Machine:
    """A machine that runs. Its whole process group ends with it. `terminal` answers what the guest asks of its console."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None, terminal: Terminal | None = None) -> None:
        self._terminal = terminal
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._begin = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=env or environment(),
            start_new_session=True,
        )
        self._output = bytearray()
        self._cpu = 0.0

    @property
    def pid(self) -> int:
        """The process started."""
        return self._process.pid

    def output(self) -> str:
        """What the console said so far."""
        return self._output.decode(errors="replace").replace("\r", "")

    def wait_for(self, text: str, limit: float) -> float:
        """Seconds from the start until the console has said `text`; raises MachineError if it ends before or takes over `limit`."""
        wanted = text.encode()
        while wanted not in self._output:
            if not self._read(limit):
                raise self._error(f"never said {text!r}")
        return time.monotonic() - self._begin

    def finish(self, limit: float) -> Run:
        """Wait for the machine's own end; raises MachineError after `limit` seconds or on a failure."""
        while self._read(limit):
            pass
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            raise self._error(f"ended with code {self._process.returncode}")
        return Run(time.monotonic() - self._begin, usage.ru_utime + usage.ru_stime, self.output())

    def ask_to_end(self, limit: float = 30.0) -> None:
        """Ask the process to end and wait until it has; raises MachineError after `limit` seconds."""
        self._process.terminate()
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise self._error("does not end when asked to") from None

    def end(self) -> None:
        """Kill what is left and close what is open."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            if file is not None:
                file.close()

    def _read(self, limit: float) -> bool:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, self._begin + limit - time.monotonic())):
                raise self._error(f"took more than {limit:g} s")
        chunk = os.read(self._process.stdout.fileno(), 65536)
        self._output += chunk
        if self._terminal is not None and (said := self._terminal.answers(chunk)):
            assert self._process.stdin is not None
            self._process.stdin.write(said)
            self._process.stdin.flush()
        return bool(chunk)

    def _error(self, cause: str) -> MachineError:
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace")
        last = "\n".join([*self.output().splitlines()[-10:], *said.splitlines()[-10:]])
        return MachineError(f"{' '.join(self._process.args)}: {cause}\n{last}")  # type: ignore[arg-type]


@contextlib.contextmanager
def running(command: Sequence[str], env: dict[str, str] | None = None, terminal: Terminal | None = None) -> Iterator[Machine]:
    """A machine for the length of a with block."""
    machine = Machine(command, env, terminal)
    try:
        yield machine
    finally:
        machine.end()


def run(command: Sequence[str], limit: float, env: dict[str, str] | None = None) -> Run:
    """Run a machine to its own end."""
    with running(command, env) as machine:
        return machine.finish(limit)


def family(pid: int) -> list[int]:
    """The process, its children and theirs."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time used so far by the process and its living descendants."""
    # The number of another process's CPU clock, as clock_getcpuclockid(3) makes it; /proc/PID/stat counts in steps of 10 ms.
    return sum(time.clock_gettime(~member << 3 | 2) for member in family(pid))


@dataclass(frozen=True)
class Memory:
    """Bytes of a machine's processes: private to them apart from guest RAM, how much of that is unchanged file content, and guest RAM."""

    own: int
    clean: int
    guest: int


def memory_of(pid: int, guest_size: int) -> Memory:
    """Read smaps of the whole family. Guest RAM is the mapping of at least 3/4 of the guest's size that has most pages present."""
    own, clean, guests = 0, 0, [0]
    for member in family(pid):
        for size, present, private_clean, private_dirty in _mappings(member):
            if size >= guest_size * 3 // 4 and present >= guest_size // 64:
                guests.append(present)
            else:
                own += private_clean + private_dirty
                clean += private_clean
    return Memory(own, clean, max(guests))


def _mappings(pid: int) -> Iterator[tuple[int, int, int, int]]:
    """Size, present, private and clean, private and dirty bytes of each mapping."""
    values: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            values[name] = int(rest[:-3]) * 1024
        if name == "VmFlags":
            yield values["Size"], values["Rss"], values["Private_Clean"], values["Private_Dirty"]
            values = {}
