"""The system calls that unpacking makes, by the numbers of the processors Linux runs us on (arch/*/entry/syscalls)."""

from __future__ import annotations

import os
import platform

_X86_64 = {
    "write": 1, "close": 3, "dup": 32, "fchmod": 91, "fchown": 93, "openat": 257, "fchmodat": 268, "mkdirat": 258, "fchownat": 260,
    "linkat": 265, "symlinkat": 266,
    "utimensat": 280,
}  # fmt: skip
_GENERIC = {
    "dup": 23, "mkdirat": 34, "symlinkat": 36, "linkat": 37, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56,
    "close": 57, "write": 64,
    "utimensat": 88,
}  # fmt: skip
_NUMBERS = _X86_64 if platform.machine() in ("x86_64", "AMD64") else _GENERIC

WRITE = _NUMBERS["write"]
CLOSE = _NUMBERS["close"]
DUP = _NUMBERS["dup"]
FCHMOD = _NUMBERS["fchmod"]
FCHMODAT = _NUMBERS["fchmodat"]
FCHOWN = _NUMBERS["fchown"]
OPENAT = _NUMBERS["openat"]
MKDIRAT = _NUMBERS["mkdirat"]
FCHOWNAT = _NUMBERS["fchownat"]
LINKAT = _NUMBERS["linkat"]
SYMLINKAT = _NUMBERS["symlinkat"]
UTIMENSAT = _NUMBERS["utimensat"]

OPEN_FOLDER = sum(getattr(os, name, 0) for name in ("O_PATH", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"))
"""Opens a directory to walk on from, and nothing that merely leads to one."""
CREATE_FILE = sum(getattr(os, name, 0) for name in ("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC"))
"""Makes a file that was not there."""
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000

ENOENT = 2
EINTR = 4
EEXIST = 17
ENOTDIR = 20
ELOOP = 40
