"""Files a person names on the command line: checked by what they are, before anything is read or started."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gasang.cli.options import plain_text
from gasang.core.errors import NotFoundError, PermissionDeniedError, UsageError
from gasang.core.units import GIB, format_size

LARGEST: Final = 4 * GIB
"""What is read whole is not longer: no kernel, initial RAM disk or program is."""


def existing_file(text: str, subject: str) -> Path:
    """A file that can be read; raise an error that names it otherwise."""
    path = Path(plain_text(text, subject))
    named = f"{subject} {text}"
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(named, "there is no such file", "check its path") from error
    except PermissionError as error:
        raise PermissionDeniedError(named, "it lies in a folder that cannot be searched", "change its permissions") from error
    except OSError as error:
        raise UsageError(named, f"that is no path ({(error.strerror or str(error)).lower()})", "check it") from error
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode):
        what = "folder" if stat.S_ISDIR(mode) else "device or socket"
        raise UsageError(named, f"it is a {what}", "name a file")
    if not os.access(path, os.R_OK):
        raise PermissionDeniedError(named, "it cannot be read", "change its permissions")
    return path


def file_to_read(text: str, subject: str) -> Path:
    """The same for a file that is read into memory as a whole."""
    path = existing_file(text, subject)
    size = path.stat().st_size
    if size > LARGEST:
        raise UsageError(f"{subject} {text}", f"its {format_size(size)} are too much", "name a kernel, an initrd or an ELF file")
    return path
