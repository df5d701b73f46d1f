"""Kernel parameters under /proc/sys, as seen from the calling thread's network namespace."""

from __future__ import annotations

import errno
import os

from gasang.core.errors import GasangError, PermissionDeniedError


def read(name: str) -> str | None:
    """The parameter `name` ("net/ipv4/ip_forward") without its line end; None if this kernel has none."""
    try:
        with open(f"/proc/sys/{name}", encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PermissionDeniedError(f"kernel parameter {name}", f"it cannot be read ({error.strerror})") from error


def write(name: str, value: str) -> bool:
    """Set it; False if this kernel has none of that name.

    Raises PermissionDeniedError where /proc/sys is read-only or we may not, GasangError when the value is refused.
    """
    try:
        descriptor = os.open(f"/proc/sys/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise PermissionDeniedError(f"kernel parameter {name}", f"it cannot be set ({error.strerror})", "run as root") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise PermissionDeniedError(f"kernel parameter {name}", "/proc/sys is read-only", f"set it to {value} on the host") from error
        raise GasangError(f"kernel parameter {name}", f"the kernel refuses {value!r} ({error.strerror})") from error
    return True
