"""What a supervisor tells and records, as values: packets and files are checked here, and nowhere else."""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.protocol import EXIT_NAME, START_NAME
from gasang.native import ctype_of

_STATUS: Final = ctype_of(protocol.Status)
STATUS_SIZE: Final = ctypes.sizeof(_STATUS)
STATES: Final = {
    protocol.WAITING: "waiting",
    protocol.STOPPED: "created",
    protocol.RUNNING: "running",
    protocol.DRAINING: "ending",
    protocol.FINISHED: "exited",
}
REASONS: Final = {
    protocol.BY_KEYS: "keys",
    protocol.GONE: "gone",
    protocol.TOO_SLOW: "slow",
    protocol.AT_END: "end",
    protocol.BY_REQUEST: "request",
}


@dataclass(frozen=True)
class Status:
    """What a supervisor tells. Times are nanoseconds since 1970, 0 for not yet; `code` is 128 + signal where a signal ended the process."""

    kind: int
    tag: int
    error: int
    state: str
    pid: int
    code: int
    signal: int
    oom: bool
    failed: tuple[int, int, int] | None
    """List, operation and error number, where the plan failed."""
    clients: int
    started: int
    finished: int
    value: int
    logged: int
    lost: int
    log_size: int
    rotations: int
    stop: int

    @property
    def reason(self) -> str:
        """Why a client was detached, for a packet of kind DETACHED."""
        return REASONS.get(self.code, "gone")


def read_status(raw: bytes, subject: str) -> Status:
    """A packet or a record, checked. Raises BadInputError."""
    if len(raw) != ctypes.sizeof(_STATUS):
        raise BadInputError(subject, f"{len(raw)} bytes where {ctypes.sizeof(_STATUS)} belong", "it was written by another version")
    made = _STATUS.from_buffer_copy(raw)
    if made.magic != protocol.MESSAGE_MAGIC or made.version != protocol.VERSION or made.state not in STATES:
        raise BadInputError(subject, "it is no status of a supervisor", "it was damaged, or written by another version")
    failed = (made.failed_list, made.failed_operation, made.failed_errno) if made.failed_errno else None
    return Status(
        made.kind, made.tag, made.error, STATES[made.state], made.pid, made.code, made.signal, bool(made.oom), failed,
        made.clients, made.started, made.finished, made.value, made.logged, made.lost, made.log_size, made.rotations, made.stop,
    )  # fmt: skip


def read_exit(folder: Path) -> Status | None:
    """The record of the process's end, or None where there is none. Raises BadInputError for a damaged one."""
    return _read_record(folder / EXIT_NAME, protocol.EXIT_RECORD)


def read_start(folder: Path) -> Status | None:
    """The record of its start, or None where there is none. Raises BadInputError for a damaged one."""
    return _read_record(folder / START_NAME, protocol.START_RECORD)


def _read_record(path: Path, kind: int) -> Status | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInputError(f"record {path}", f"it cannot be read ({error.strerror})", "remove the container") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadInputError(f"record {path}", "it is no file", "remove the container")
        raw = os.read(descriptor, ctypes.sizeof(_STATUS) + 1)
    finally:
        os.close(descriptor)
    made = read_status(raw, f"record {path}")
    if made.kind != kind:
        raise BadInputError(f"record {path}", "it is a record of something else", "remove the container")
    return made
