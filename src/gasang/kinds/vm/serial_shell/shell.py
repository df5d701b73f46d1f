"""Running a command by typing it at a machine's console, where a shell is found to sit. Blocking calls.

    shell = SerialShell(connect, "machine web")                       # connect: joins the console, as somebody who attaches
    running = shell.exec(["uname", "-a"])                             # as the agent's (kinds/vm/agent/client.py), with the same errors
    outcome = running.run(lambda stream, data: ..., source=None)

What somebody has typed there and not sent is erased; then Enter is pressed. Only where a shell's prompt comes is anything else typed.
Output and errors come as one, as a terminal has them; what the kernel says there meanwhile is between them. The guest can say what it
likes: no more than a few KiB of it are kept.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from gasang.core.console import WindowSize
from gasang.core.errors import StateError, UnsupportedError
from gasang.kinds.vm.agent.client import REACH, Wants
from gasang.kinds.vm.agent.running import STDOUT, Outcome, Output
from gasang.kinds.vm.serial_shell.prompt import KEPT, Seen, seen
from gasang.kinds.vm.serial_shell.script import BEGUN, ENDED, TAKEN, Command, Mark, Marks, lines

ERASE: Final = b"\x15\r"
"""Ctrl-U, which erases a line that is being typed (termios(3), VKILL; readline's unix-line-discard), and Enter."""
AGAIN: Final = 2.0
"""Seconds without an answer after which Enter is pressed once more: a guest that boots may have lost it."""
ANSWERS: Final = 4
"""Times that what is no shell has answered, after which it is not asked again: a guest that boots does not answer."""
PROMPTLY: Final = 0.5
"""Seconds in which an answer comes; later it is something that is said anyway."""
QUIET: Final = 0.2
"""Seconds of silence behind a prompt: what comes letter by letter may be the beginning of something else."""
ANSWER: Final = 10.0
"""Seconds for a shell to take a line, and to begin a command."""
_CHUNK: Final = 1 << 16
INTERRUPTED: Final = Outcome(130, signal.SIGINT)
_KEYS: Final = {signal.SIGINT: b"\x03", signal.SIGQUIT: b"\x1c", signal.SIGTERM: b"\x03", signal.SIGHUP: b"\x03", signal.SIGKILL: b"\x03"}
"""What can be typed of signals: a terminal has no more than INT and QUIT (termios(3))."""
_HINTS: Final = {
    Seen.SHELL: "sit down at it: gasang attach",
    Seen.LOGIN: "log in there first: gasang attach",
    Seen.OTHER: "what is there wants something else: look with gasang attach",
    Seen.NOTHING: "see what it is doing (gasang logs, gasang attach); one that still boots may be asked again later",
}
_CAUSES: Final = {
    Seen.SHELL: "a prompt is at its serial console, but no shell that takes a command",
    Seen.LOGIN: "its serial console asks for a login, and no one is logged in there",
    Seen.OTHER: "no shell is at its serial console",
    Seen.NOTHING: "nothing answers at its serial console",
}


class NoShellError(StateError):
    """No shell sits at the console."""


class SerialShell:
    """The shell at the console of the machine `subject`; `connect` gives a connection to what is typed and shown there."""

    def __init__(self, connect: Callable[[], socket.socket], subject: str, turn: threading.Lock | None = None) -> None:
        """`turn` is held by the one command that can be there."""
        self._connect = connect
        self._subject = subject
        self._turn = turn or threading.Lock()

    def exec(
        self,
        arguments: Sequence[str],
        *,
        environment: Sequence[str] = (),
        directory: str = "",
        user: str = "",
        terminal: WindowSize | None = None,
        streams: Wants = Wants(),  # noqa: B008  (it cannot change)
        patience: float = REACH,
    ) -> TypedCommand:
        """Start a command; a guest that boots has `patience` seconds to show a prompt.

        Raises NoShellError where none comes, UnsupportedError for what a console cannot do, UsageError for words that cannot be typed,
        StateError where the machine ends.
        """
        hint = "leave it out, or use a guest with an agent (a machine from an image)"
        if user:
            raise UnsupportedError(f"user {user[:80]!r}", "at a serial console a command is whose shell it is", hint)
        if streams.input and terminal is None:
            raise UnsupportedError("input of a command", "at a serial console it needs a terminal (-it)", hint)
        nonce = f"gasang-{secrets.token_hex(8)}-"
        typed = lines(Command(tuple(arguments), tuple(environment), directory, terminal), nonce)
        if not self._turn.acquire(blocking=False):
            raise NoShellError(self._subject, "another command runs at its serial console", "wait for its end, or look with gasang attach")
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._turn.release)
            talk = _Talk(cleanup.enter_context(self._connect()), self._subject, nonce)
            talk.find_prompt(patience)
            first = _begin(talk, typed)
            return TypedCommand(talk, first, cleanup.pop_all(), is_terminal=terminal is not None)


def _begin(talk: _Talk, typed: Sequence[bytes]) -> Mark:
    """The mark that a command begins with, or one that it has ended without having begun. Raises NoShellError."""
    for number, line in enumerate(typed[:-1]):
        talk.type(line + b"\r")
        if talk.mark() != Mark(TAKEN, number):
            raise talk.no_shell(Seen.SHELL)
    talk.type(typed[-1] + b"\r")
    first = talk.mark()
    if first.kind not in (BEGUN, ENDED):
        raise talk.no_shell(Seen.SHELL)
    return first


class _Talk:
    """A connection to the console."""

    def __init__(self, connection: socket.socket, subject: str, nonce: str) -> None:
        self.connection = connection
        self.marks = Marks(nonce)
        self.rest = b""
        """What came behind the last mark."""
        self._subject = subject
        connection.settimeout(ANSWER)

    def type(self, data: bytes) -> None:
        """Raises StateError where the machine has ended, NoShellError where it takes nothing."""
        try:
            self.connection.sendall(data)
        except TimeoutError as error:
            raise self.no_shell(Seen.NOTHING) from error
        except OSError as error:
            raise self.gone() from error

    def hear(self, seconds: float | None) -> bytes | None:
        """What is said next; None where that is nothing for so long. Raises StateError where the machine has ended."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        if not poller.poll(None if seconds is None else max(0.0, seconds * 1000)):
            return None
        try:
            data = self.connection.recv(_CHUNK)
        except OSError as error:
            raise self.gone() from error
        if not data:
            raise self.gone()
        return data

    def find_prompt(self, patience: float) -> None:
        """Return when a shell's prompt is the last that is shown. Raises NoShellError."""
        end = time.monotonic() + patience
        said, found, answers = b"", Seen.NOTHING, 0
        self.type(ERASE)
        pressed, answered = time.monotonic(), False
        while (now := time.monotonic()) < end:
            heard = self.hear(QUIET if found is Seen.SHELL else min(end, pressed + AGAIN) - now)
            if heard is None:
                if found is Seen.SHELL:
                    return
                answers += answered
                if found is Seen.LOGIN or answers == ANSWERS:
                    break
                self.type(ERASE)
                pressed, answered = time.monotonic(), False
                continue
            answered = answered or time.monotonic() - pressed < PROMPTLY
            said = (said + heard)[-KEPT:]
            found = seen(said)
        raise self.no_shell(found)

    def mark(self) -> Mark:
        """The next mark; what is before it is an echo. Raises NoShellError."""
        data, self.rest = self.rest, b""
        end = time.monotonic() + ANSWER
        while True:
            _, mark, self.rest = self.marks.feed(data)
            if mark is not None:
                return mark
            left = end - time.monotonic()
            heard = self.hear(left) if left > 0 else None
            if heard is None:
                raise self.no_shell(Seen.SHELL)
            data = heard

    def no_shell(self, found: Seen) -> NoShellError:
        """It has none."""
        return NoShellError(self._subject, _CAUSES[found], _HINTS[found])

    def gone(self) -> StateError:
        """The machine has ended."""
        return StateError(self._subject, "its console is gone before the command's end was told", "see whether the machine still runs")


class TypedCommand:
    """A command that was typed: as agent.running.Running. `pid` is its process in the guest, 0 where its shell could not start it."""

    def __init__(self, talk: _Talk, first: Mark, held: contextlib.ExitStack, *, is_terminal: bool) -> None:
        """`held` is what `close` lets go of."""
        self._talk = talk
        self._held = held
        self._is_terminal = is_terminal
        self._interrupted = False
        self._left = False
        self.outcome: Outcome | None = None
        self.pid = first.number if first.kind == BEGUN else 0
        if first.kind == ENDED:
            self._end(first)

    def run(self, output: Output, source: int | None = None) -> Outcome:
        """Give `output` what it writes, and its terminal what `source` (a descriptor) has, until it ends. Raises StateError."""
        talk = self._talk
        talk.connection.settimeout(None)
        data, talk.rest = talk.rest, b""
        held = said = b""
        while self.outcome is None:
            before, mark, data = talk.marks.feed(data)
            said = (said + before)[-KEPT:]
            held = self._show(output, held + before, last=mark is not None)
            if mark is not None and mark.kind == ENDED:
                if self._left:  # it has ended of that: nobody's outcome
                    raise talk.gone()
                self._end(mark)
            elif mark is None:
                heard, source = self._next(source)
                if heard is None and seen(said) is Seen.SHELL:
                    self.outcome = INTERRUPTED
                data = heard or b""
        return self.outcome

    def _show(self, output: Output, data: bytes, *, last: bool) -> bytes:
        """Pass output on, lines as a program writes them where it is not on a terminal; what is held back of it."""
        if self._is_terminal:
            kept = b""
        else:
            kept = b"\r" if data.endswith(b"\r") and not last else b""
            data = data[: len(data) - len(kept)].replace(b"\r\n", b"\n")
        if data:
            output(STDOUT, data)
        return kept

    def _next(self, source: int | None) -> tuple[bytes | None, int | None]:
        """What the guest says next, what is typed having been passed on; and where more is typed.

        None after an interrupt that nothing follows: a terminal drops what was not shown yet then (termios(3), NOFLSH), maybe the mark.
        """
        talk, waits = self._talk, QUIET * 1000 if self._interrupted and not self._is_terminal else None
        while True:
            poller = select.poll()
            poller.register(talk.connection, select.POLLIN)
            if source is not None:
                poller.register(source, select.POLLIN)
            ready = [descriptor for descriptor, _ in poller.poll(waits)]
            if not ready:
                return None, source
            if source not in ready:
                return talk.hear(None), source
            typed = _read(source)
            talk.type(typed)
            source = source if typed else None

    def _end(self, mark: Mark) -> None:
        code = mark.number & 0xFF
        self.outcome = Outcome(code, code - 128 if 128 < code <= 192 else 0)

    def signal(self, number: int) -> None:
        """Type the key that stands for a signal, or the next to it; one that no key stands for is not heard."""
        key = _KEYS.get(signal.Signals(number))
        if key is not None and self.outcome is None:
            self._interrupted = True
            with contextlib.suppress(StateError):  # it is just ending
                self._talk.type(key)

    def resize(self, size: WindowSize) -> None:
        """A serial line cannot tell of it; the guest was told the first size."""

    def hang_up(self) -> None:
        """Interrupt it and leave, so that its console is there for others; from any thread. Whoever is in `run` gets a StateError."""
        self.signal(signal.SIGINT)
        self._left = True
        with contextlib.suppress(OSError):  # it has ended
            self._talk.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave; what still runs has the console for itself. Twice is once."""
        self._held.close()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError:  # it was closed, which is its end
        return b""
