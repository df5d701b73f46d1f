"""Showing a log: from its oldest file to its newest, the last lines, a span of time; and on as it grows, through rotations.

A `LogReader` works in steps that never wait, for an event loop; `run` waits, for a thread. Everything heavy is native, without the GIL.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import select
import stat
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError
from gasang.kinds.container.supervisor import decode as decoder
from gasang.kinds.container.supervisor.library import load
from gasang.native import ctype_of

_DECODER: Final = ctype_of(decoder.Decoder)
_SLACK: Final = 64
"""Bytes that may be read or written beyond the ends of the buffers."""
_NO_LIMIT: Final = (1 << 64) - 1
_MOST_FILES: Final = 10_000
_EVENTS: Final = 4096


class Progress(enum.Enum):
    """What to do before the next step."""

    MORE = "nothing"
    BLOCKED = "wait until the output takes something"
    WAITING = "wait until there is news (`fileno`), or end with `finish`"
    DONE = "nothing more will come"


class OutputGone(GasangError):
    """Who was shown the log has gone away."""

    def __init__(self, error: int) -> None:
        super().__init__("log output", f"it does not take anything any more ({os.strerror(error)})")


class LogReader:
    """Shows the log `name` of `folder` to the descriptor `output`, which stays the caller's.

    `since` and `until` are nanoseconds since 1970 (0: none), `tail` how many entries at most (before these are applied, as Docker has it),
    `limit` how much of the newest file at most, `prefix` what is shown before each entry's text. One that follows gives each entry a frame
    of its own, as Docker does: some clients take a frame for a line there. Raises NotFoundError where there is no log.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        output: int,
        *,
        stdout: bool = True,
        stderr: bool = True,
        multiplexed: bool = False,
        timestamps: bool = False,
        since: int = 0,
        until: int = 0,
        tail: int | None = None,
        follow: bool = False,
        limit: int | None = None,
        prefix: bytes = b"",
    ) -> None:
        self._native = load().functions
        self._folder = folder
        self._name = name
        self._buffers = [ctypes.create_string_buffer(size + _SLACK) for size in (decoder.IN_SIZE, decoder.OUT_SIZE)]
        if len(prefix) > decoder.PREFIX_SIZE:
            raise BadInputError(f"log {name}", f"{len(prefix)} bytes before each entry, {decoder.PREFIX_SIZE} are the most", "show fewer")
        self._prefix = ctypes.create_string_buffer(prefix)
        self._news = ctypes.create_string_buffer(_EVENTS)
        self._decoder: Any = _DECODER(
            input=-1, output=output, since=max(since, 0), until=max(until, 0),
            prefix=ctypes.addressof(self._prefix), prefix_size=len(prefix),
            buffer=ctypes.addressof(self._buffers[0]), out_buffer=ctypes.addressof(self._buffers[1]),
            flags=decoder.OUT * stdout | decoder.ERR * stderr | decoder.FRAMED * multiplexed
            | decoder.STAMPED * timestamps | decoder.JOINED * (multiplexed and not follow),
        )  # fmt: skip
        self._follow = follow
        self._finishing = False
        self._inotify = -1
        self._files: list[int] = []
        try:
            if follow:
                self._inotify = self._watch()
            self._open(tail, limit)
        except BaseException:
            self.close()
            raise

    def _watch(self) -> int:
        made: int = self._native["watch_folder"](ctypes.create_string_buffer(os.fsencode(self._folder)))
        if made < 0:
            raise OutOfSpaceError(f"log {self._name}", f"it cannot be followed ({os.strerror(-made)})", "follow fewer logs at a time")
        return made

    def _open(self, tail: int | None, limit: int | None) -> None:
        """Open all files, the newest first: a rotation meanwhile shows one twice, and hides none."""
        seen: set[int] = set()
        missing = number = 0
        while missing < 2 and number < _MOST_FILES:
            made = self._open_file(number)
            number += 1
            missing = missing + 1 if made is None else 0
            if made is not None and made[1] in seen:
                os.close(made[0])
            elif made is not None:
                seen.add(made[1])
                self._files.append(made[0])
        if not self._files:
            raise NotFoundError(f"log {self._folder / self._name}", "there is none", "start the container")
        self._limit = os.fstat(self._files[0]).st_size if limit is None else limit
        offset = 0 if tail is None else self._cut(tail)
        self._begin(self._files.pop(), offset)

    def _cut(self, tail: int) -> int:
        """Leave only files that hold the last entries; where the first of them begins in the oldest."""
        for index, descriptor in enumerate(self._files):
            size = self._limit if index == 0 else os.fstat(descriptor).st_size
            self._decoder.input = descriptor
            offset = self._native["find_tail"](self._decoder, size, tail)
            self._check(offset)
            tail -= self._decoder.stream
            if tail <= 0:
                while len(self._files) > index + 1:
                    os.close(self._files.pop())
                return int(offset)
        return 0

    def _open_file(self, number: int) -> tuple[int, int] | None:
        """A file of the log and its inode, or None where there is none. Raises BadInputError for what is no file."""
        path = self._path(number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadInputError(f"log {path}", f"it cannot be opened ({error.strerror})", "remove the container") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise BadInputError(f"log {path}", "it is no file", "remove the container")
        return descriptor, status.st_ino

    def _begin(self, descriptor: int, offset: int = 0) -> None:
        """Go on with another file."""
        made = self._decoder
        made.input, made.offset, made.taken, made.filled, made.skipping = descriptor, offset, 0, 0, 0
        made.limit = _NO_LIMIT if self._follow or self._files else self._limit

    # ------------------------------------------------------------------ going on

    def step(self) -> Progress:
        """Go on without waiting (as far as `output` does not wait). Raises OutputGone where it takes nothing any more."""
        result = self._check(self._native["decode"](self._decoder))
        if result == decoder.BLOCKED:
            return Progress.BLOCKED
        if result == decoder.MORE:
            return Progress.MORE
        if result == decoder.OVER:
            return Progress.DONE
        if self._files:
            os.close(self._decoder.input)
            self._begin(self._files.pop())
            return Progress.MORE
        return self._at_end() if self._follow else Progress.DONE

    def _at_end(self) -> Progress:
        """The newest file known has no more: look whether it has grown meanwhile, was emptied, or is not the newest any more."""
        while self._native["drain"](self._inotify, self._news, _EVENTS):  # before looking, so that no news is missed
            continue
        made = self._decoder
        newer = self._newer_than(made.input)
        size = os.fstat(made.input).st_size  # after looking: a file that has been left does not grow any more
        if size > made.offset or newer is None:
            if newer is not None:
                os.close(newer)
            if size < made.offset:
                self._begin(made.input)
                return Progress.MORE
            if size > made.offset:
                return Progress.MORE
            return Progress.DONE if self._finishing else Progress.WAITING
        os.close(made.input)
        self._begin(newer)
        return Progress.MORE

    def _newer_than(self, descriptor: int) -> int | None:
        """The file that came after an open one, opened; None where that is the newest."""
        while True:
            status = os.fstat(descriptor)
            numbers = self._numbers()
            place = numbers.get(status.st_ino)
            if place is None and status.st_nlink:
                continue  # it is being renamed
            number = max(numbers.values(), default=0) if place is None else place - 1
            if number < 0:
                return None
            made = self._open_file(number)
            if made is None and not numbers:
                return None  # the log was removed, and its container with it
            if made is None:
                continue
            if self._numbers().get(made[1]) == number and (place is None or self._numbers().get(status.st_ino) == place):
                return made[0]
            os.close(made[0])  # there was a rotation meanwhile

    def _numbers(self) -> dict[int, int]:
        """The files by inode. A rotation moves them up one by one from the oldest on, so that one number may be missing for a moment."""
        found: dict[int, int] = {}
        missing = number = 0
        while missing < 2 and number < _MOST_FILES:
            try:
                found[self._path(number).lstat().st_ino] = number
                missing = 0
            except FileNotFoundError:
                missing += 1
            number += 1
        return found

    def _path(self, number: int) -> Path:
        return self._folder / (f"{self._name}.{number}" if number else self._name)

    def _check(self, result: int) -> int:
        if result in (-errno.EPIPE, -errno.ECONNRESET):
            raise OutputGone(-result)
        if result < 0:
            raise BadInputError(f"log {self._folder / self._name}", f"it cannot be read ({os.strerror(-result)})", "look at the disk")
        return result

    def finish(self) -> None:
        """End when all is shown that is there by now: the container has ended."""
        self._finishing = True

    def fileno(self) -> int:
        """Readable when a followed log may have grown; -1 where none is followed."""
        return self._inotify

    def run(self, stop: int | None = None) -> None:
        """Show everything, waiting where that is needed. A followed log ends when `stop` can be read (and what is there is shown).

        Raises OutputGone when the output goes away.
        """
        while (progress := self.step()) is not Progress.DONE:
            if progress is Progress.MORE:
                continue
            waiting = select.poll()
            waiting.register(self._decoder.output, (select.POLLOUT if progress is Progress.BLOCKED else 0) | select.POLLRDHUP)
            if progress is Progress.WAITING:
                waiting.register(self._inotify, select.POLLIN)
            if stop is not None and not self._finishing:
                waiting.register(stop, select.POLLIN)
            for descriptor, events in waiting.poll():
                if descriptor == stop:
                    self.finish()
                elif descriptor == self._decoder.output and events & ~select.POLLOUT:
                    raise OutputGone(errno.EPIPE)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in {*self._files, self._decoder.input, self._inotify} - {-1}:
            os.close(descriptor)
        self._files, self._decoder.input, self._inotify = [], -1, -1

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
