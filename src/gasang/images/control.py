"""What `guest/init` and `guest/configure` tell, a line each: "stage NAME", "progress DONE TOTAL", "exit CODE", "error TEXT"."""

from __future__ import annotations

from collections.abc import Callable

from gasang.core.progress import Step

AGENT_STAGES = {"agent-ready": True, "no-agent": False}


class ControlPort:
    """Reads the lines. They come from a guest and may be anything."""

    LONGEST = 4096

    def __init__(self, on_stage: Callable[[str], None], on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        self._pending = b""
        self._on_stage = on_stage
        self._on_progress = on_progress
        self.code: int | None = None
        self.has_agent: bool | None = None
        """Whether the guest's agent listens; None before it was tried."""
        self.on_no_agent: Callable[[], None] = lambda: None
        self.error = ""
        """The first that was told: others may follow from it."""

    def take(self, data: bytes) -> None:
        """More bytes from the guest."""
        *lines, rest = (self._pending + data).split(b"\n")
        self._pending = rest[-self.LONGEST :]
        for line in lines:
            self._line(line.decode("utf-8", "replace"))

    def _line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "stage":
            self._stage(rest[:64])
        elif word == "exit" and rest.isdecimal() and len(rest) < 4 and int(rest) < 256:
            self.code = int(rest)
        elif word == "error":
            self.error = self.error or printable(rest[:256])
        elif word == "progress":
            numbers = rest.split()
            if len(numbers) == 2 and all(number.isdecimal() and len(number) < 9 for number in numbers):
                self._on_progress(int(numbers[0]), int(numbers[1]))

    def _stage(self, name: str) -> None:
        if name in AGENT_STAGES and self.has_agent is None:
            self.has_agent = AGENT_STAGES[name]
            if not self.has_agent:
                self.on_no_agent()
        self._on_stage(name)


class Counter:
    """Turns "so many are done" into steps forward."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._done = 0

    def reached(self, done: int, total: int) -> None:
        """The guest says how far it is."""
        if done > self._done:
            self._step.advance(done - self._done)
            self._done = done


def printable(text: str) -> str:
    """What a guest says, without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def last_line(said: bytes) -> str:
    """The last line of a guest's output, for a message."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1][:200]) if lines else "it said nothing"
