"""What runs in a container, as ps shows it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from typing import Final

from gasang.core.errors import GasangError, UsageError

TITLES: Final = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
PS_TIMEOUT: Final = 10.0


def table(pids: list[int], options: str) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of ps for these processes. The usual form is our own; others need the host's ps. Raises UsageError."""
    if options.strip() in ("", "-ef"):
        rows = [row for pid in pids if (row := _row(pid))]
        return list(TITLES), rows
    if any(not (char.isalnum() or char in "-_,.= ") for char in options):
        raise UsageError(f"ps options {options[:60]!r}", "they have characters that no option has", "for example: -o pid,cmd")
    program = shutil.which("ps")
    if program is None:
        raise GasangError("ps", "this host has no ps, only the usual form is shown", "leave the options out")
    answer = subprocess.run([program, *options.split()], capture_output=True, text=True, timeout=PS_TIMEOUT, check=False)
    if answer.returncode != 0:
        raise UsageError(f"ps {options[:60]}", answer.stderr.strip()[:200] or "it failed", "ps --help lists its options")
    lines = answer.stdout.splitlines()
    titles = lines[0].split()
    if "PID" not in titles:
        raise UsageError("ps", "Couldn't find PID field in ps output", "have it show PID")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > column and row[column] in wanted]


def _row(pid: int) -> list[str] | None:
    """A row of ``ps -ef``; None where the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").decode(errors="replace").replace("\0", " ")
        owner = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = rest.split()
    tick = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) // tick
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(fields[19]) / tick
    elapsed = max(1.0, time.time() - began)
    stime = time.strftime("%H:%M" if elapsed < 86400 else "%b%d", time.localtime(began))
    terminal = _terminal(int(fields[4]))
    clock = f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}"
    return [_user(owner), str(pid), fields[1], str(min(99, int(used * 100 / elapsed))), stime, terminal, clock, words or f"[{name}]"]


def _terminal(device: int) -> str:
    major, minor = os.major(device), os.minor(device)
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major <= 143 else "?"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
