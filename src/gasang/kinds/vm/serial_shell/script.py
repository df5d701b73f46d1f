"""What is typed at a shell to have a command run, and what the shell says of it (POSIX, Shell Command Language). Pure.

A terminal's line is edited while it is typed: by the kernel, which takes some 255 bytes (MAX_CANON), or by the shell, to which a tab, a
`!` or a letter beyond ASCII means something. So a script is typed in short lines of harmless letters that build up a printf(1) format,
and then given to another shell.

The shell tells by marks, which begin with a number that nobody can guess: `b` and the command's process id when it begins, `p` and a
number when it has taken a line, `e` and an exit code at the end. Typed they look otherwise, so an echo is no mark.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gasang.core.console import WindowSize
from gasang.core.errors import UsageError

BEGUN, TAKEN, ENDED = "b", "p", "e"
PIECE: Final = 160
"""Bytes of a script that one line brings."""
LONGEST: Final = 16 << 10
"""Bytes of a script as it is typed."""
MOST_DIGITS: Final = 10
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HARMLESS: Final = frozenset(b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _./=:,;+-@"$(){}[]<>|&*?#~^')
_VARIABLE: Final = "_gasang"


class Command(NamedTuple):
    """A command for the shell. `size` is the terminal that it is to have; without one its input is /dev/null."""

    words: Sequence[str]
    environment: Sequence[str] = ()
    directory: str = ""
    size: WindowSize | None = None


def lines(command: Command, nonce: str) -> list[bytes]:
    """What is typed, line by line; each but the last is answered by a TAKEN with its number.

    Raises UsageError for what no shell can be given.
    """
    encoded = _encoded(_script(command, nonce))
    if len(encoded) > LONGEST:
        hint = "put it into a script there, or use an image, whose guests have an agent"
        raise UsageError(f"command {command.words[0][:80]!r}", "it is too long to be typed at a serial console", hint)
    pieces = list(_pieces(encoded))
    typed = [
        f" {_VARIABLE}=\"${{{_VARIABLE}-}}\"'{piece}';printf '{nonce}{TAKEN}%s;' {number}" if number else
        f" {_VARIABLE}='{piece}';printf '{nonce}{TAKEN}%s;' {number}"
        for number, piece in enumerate(pieces)
    ]  # fmt: skip
    last = f" sh -c \"$(printf \"${_VARIABLE}\")\"||printf '{nonce}{ENDED}%s;' $?;unset {_VARIABLE}"
    return [line.encode("ascii") for line in [*typed, last]]


def _script(command: Command, nonce: str) -> str:
    for word in (*command.words, *command.environment, command.directory):
        if "\0" in word:
            raise UsageError(f"word {word[:80]!r}", "it holds a zero byte, which no argument can", "leave it out")
    exports = []
    for word in command.environment:
        name, is_set, value = word.partition("=")
        if not is_set or not _NAME.fullmatch(name):
            raise UsageError(f"environment variable {word[:80]!r}", "a shell has none of such a name", "write NAME=VALUE")
        exports.append(f"export {name}={shlex.quote(value)};")
    enters = f"cd -- {shlex.quote(command.directory)} || exit 127;" if command.directory else ""
    inner = f"printf '{nonce}{BEGUN}%s;' $$;{''.join(exports)}{enters}exec \"$@\""
    size = f"stty rows {command.size.rows} cols {command.size.columns} 2>/dev/null;" if command.size else ""
    streams = "" if command.size else " </dev/null 2>&1"
    run = f"sh -c {shlex.quote(inner)} sh {shlex.join(command.words)}{streams}"
    # Interrupted, a shell that a person sits at forgets the rest of a line; this one, which goes on, tells how the command ended.
    return f"{size}trap : INT QUIT;{run};printf '{nonce}{ENDED}%s;' $?"


def _encoded(script: str) -> str:
    """A script as a format of printf: what is not harmless is an octal escape. The shell would take newlines from its end."""
    return "".join(chr(byte) if byte in _HARMLESS else f"\\{byte:03o}" for byte in script.encode("utf-8", "surrogateescape"))


def _pieces(encoded: str) -> Iterator[str]:
    return (encoded[start : start + PIECE] for start in range(0, len(encoded), PIECE))


class Mark(NamedTuple):
    """What the shell tells."""

    kind: str
    number: int


class Marks:
    """Finds marks in what a guest says. It keeps no more than a mark's length, whatever comes."""

    def __init__(self, nonce: str) -> None:
        self._head = nonce.encode("ascii")
        self._whole = re.compile(re.escape(self._head) + rb"([%s])([0-9]{1,%d});" % ("".join((BEGUN, TAKEN, ENDED)).encode(), MOST_DIGITS))
        self._begun = re.compile(rb"[%s][0-9]{0,%d}" % ("".join((BEGUN, TAKEN, ENDED)).encode(), MOST_DIGITS))
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, Mark | None, bytes]:
        """What is before the first mark, the mark, and what is behind it, to be fed again; without one, what is surely before."""
        whole = self._held + data
        self._held = b""
        found = self._whole.search(whole)
        if found:
            return whole[: found.start()], Mark(found[1].decode(), int(found[2])), whole[found.end() :]
        cut = self._cut(whole)
        self._held = whole[cut:]
        return whole[:cut], None, b""

    def _cut(self, whole: bytes) -> int:
        """Where what may become a mark begins."""
        longest = len(self._head) + 1 + MOST_DIGITS
        for start in range(max(0, len(whole) - longest), len(whole)):
            rest = whole[start:]
            if self._head.startswith(rest) or (rest.startswith(self._head) and self._begun.fullmatch(rest[len(self._head) :])):
                return start
        return len(whole)
