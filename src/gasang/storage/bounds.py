"""The border of every disk: a range lies within it, or nothing happens."""

from __future__ import annotations

import errno


def check_range(size: int, offset: int, length: int) -> None:
    """Raise OSError unless `length` bytes at `offset` lie within a disk of `size` bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise OSError(errno.EINVAL, f"{length} bytes at {offset} lie outside the disk's {size}")
