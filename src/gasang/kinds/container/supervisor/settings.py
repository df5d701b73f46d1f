"""How a process is to be supervised, and the file that tells a supervisor so."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.protocol import CONTROL_NAME, EXIT_NAME, START_NAME
from gasang.native import ctype_of

_CONFIG: Final = ctype_of(protocol.Config)


@dataclass(frozen=True)
class Settings:
    """How a process is to be supervised. `log` is the log file's name, empty for none; sizes are in bytes, times in seconds."""

    log: str = ""
    log_size: int = 0
    log_count: int = 1
    terminal: bool = False
    terminal_later: bool = False
    rows: int = 0
    columns: int = 0
    open_stdin: bool = False
    start_at_once: bool = False
    ephemeral: bool = False
    linger: float = 2.0
    oom_file: str = ""


def configuration(settings: Settings, plan: bytes, extra: int, terminal_given: bool) -> bytes:
    """The file that a supervisor is started with. Raises BadInputError for settings that cannot be."""
    for text, size in ((settings.log, protocol.NAME_SIZE), (settings.oom_file, protocol.PATH_SIZE)):
        if len(os.fsencode(text)) >= size or "\0" in text:
            raise BadInputError(f"supervisor setting {text[:40]!r}", f"a text of at most {size - 1} bytes is needed")
    if "/" in settings.log or settings.log in (".", "..", EXIT_NAME, START_NAME, CONTROL_NAME):
        raise BadInputError(f"log file {settings.log}", "this name is none for a log", "take another, such as container-json.log")
    made = _CONFIG()
    made.magic, made.version = protocol.CONFIG_MAGIC, protocol.VERSION
    made.flags = (
        protocol.TERMINAL * (settings.terminal and not terminal_given)
        | protocol.TERMINAL_LATER * settings.terminal_later
        | protocol.TERMINAL_GIVEN * terminal_given
        | protocol.OPEN_STDIN * settings.open_stdin
        | protocol.LOG * bool(settings.log)
        | protocol.START_AT_ONCE * settings.start_at_once
        | protocol.EPHEMERAL * settings.ephemeral
    )
    made.plan_offset, made.plan_length = -(-ctypes.sizeof(_CONFIG) // 8) * 8, len(plan)
    made.log_size, made.log_count = settings.log_size, settings.log_count
    made.linger = round(settings.linger * 1000)
    made.rows, made.columns, made.extra = settings.rows, settings.columns, extra
    ctypes.memmove(ctypes.addressof(made) + _CONFIG.oom_path.offset, os.fsencode(settings.oom_file), len(os.fsencode(settings.oom_file)))
    ctypes.memmove(ctypes.addressof(made) + _CONFIG.log_name.offset, os.fsencode(settings.log), len(os.fsencode(settings.log)))
    return bytes(made).ljust(made.plan_offset, b"\0") + plan
