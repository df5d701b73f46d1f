"""Memory for guests: allocated when touched, nameable by other processes where the host can (memfd), anonymous elsewhere.

It begins as memory that nobody copies. Two things make it copy-on-write (MAP_PRIVATE of mmap(2)), at the address where it is: being
filled from files (`map_files`: a restored machine's), and `make_private`, after which a fork(2) of the process has a copy of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from gasang.core.errors import OutOfSpaceError, UnsupportedError
from gasang.host.holes import data_runs, punch_hole
from gasang.host.huge import HUGE, LATER, collapse, full
from gasang.host.ranges import Marks, Ranges, overlapping, without

_LARGE = 1 << 18
"""Bytes from which it pays to have the host do the copying."""
_ZEROES = bytes(_LARGE)
_WORTH = 1 << 16
"""Bytes from which it pays to put zeroes over a file's content: each such place may cost the host a mapping."""
_MOST_PLACES = 1 << 14
"""Of a process's 65530 mappings (vm.max_map_count), so many at most are spent for that."""
_FAILED = ctypes.c_void_p(-1).value
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_MERGEABLE, _HUGEPAGE, _SMALL_PAGES = 12, 14, 15
_POPULATE_READ, _POPULATE_WRITE = 22, 23
"""MADV_POPULATE_… of madvise(2), since Linux 5.14."""


class FileRun(NamedTuple):
    """`length` bytes of an open file from `offset` on, which are to lie at the same offset of the memory; all whole pages."""

    descriptor: int
    offset: int
    length: int


class LazyMemory:
    """`size` bytes of zeroes that cost what is touched. `address` is where they lie in this process.

    With `huge` it is made of huge pages where the host has them for whoever asks: what lies scattered in much memory is then found without
    walking page tables. It is copy-on-write from the start, and costs up to 2 MiB more.
    """

    def __init__(self, size: int, name: str, *, huge: bool = False) -> None:
        self.size = size
        self.is_private = False
        """Whether it is copy-on-write."""
        self._files: Ranges = ()
        self._places = 0
        """Where zeroes lie over a file's content."""
        self._discarded = Marks(size)
        """What was discarded since it is copy-on-write: it may be other than it was, and no page of ours shows that."""
        self._advice: tuple[int, ...] = (_MERGEABLE,)
        self._gathered: set[int] = set()
        """Where there are huge pages, and where there cannot be."""
        start = 0
        try:
            if huge and sys.platform.startswith("linux"):
                self._map, start = _map_aligned(size)
                self._descriptor, self.is_private = -1, True
            else:
                self._map, start, self._descriptor = _map_named(size, name)
        except (OSError, OverflowError, ValueError) as error:
            cause = f"the host cannot map them ({error})"
            raise OutOfSpaceError(f"{size} bytes of guest memory", cause, "ask for less with --memory") from error
        self._anchor = (ctypes.c_char * size).from_buffer(self._map, start)
        self.address = ctypes.addressof(self._anchor)
        self.view = memoryview(self._map)[start : start + size]
        if self.is_private:
            self.advise(merge=False, huge=True)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store `data` at `offset`; all of it lies inside."""
        if self._descriptor < 0 or self.is_private or len(data) < _LARGE:
            self.view[offset : offset + len(data)] = data
            return
        # The host then need not make pages of zeroes first, and does not stumble over every one of them.
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[done:], offset + done

    def close(self) -> None:
        """Unmap. Nothing may use the memory any more."""
        self.view.release()
        del self._anchor
        self._map.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def map_files(self, runs: Sequence[FileRun]) -> None:
        """Become copy-on-write memory with the content of `runs`, zeroes elsewhere; the descriptors may be closed then.

        Raises UnsupportedError on a host without, OutOfSpaceError where the host cannot map so much.
        """
        self._replace(-1)
        self._files, self._places = tuple((run.offset, run.length) for run in runs), 0
        self._discarded.clear()
        for run in runs:
            _map_fixed(self.address + run.offset, run.length, run.descriptor, run.offset)
        self.is_private = True
        self._advise(0, self.size)

    def make_private(self) -> None:
        """Keep the content, and be copied on write by a fork from now on; nobody may be in `write` meanwhile.

        Raises as `map_files` does.
        """
        if self.is_private:
            return
        if self._descriptor < 0:
            raise UnsupportedError("guest memory", "this host has none that a fork copies on write", "use a host with memfd_create")
        self._replace(self._descriptor)
        self._files = tuple(data_runs(self._descriptor, self.size))
        self.is_private = True
        self._advise(0, self.size)

    def _replace(self, descriptor: int) -> None:
        _map_fixed(self.address, self.size, descriptor, 0)

    def content(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, some of it more than once; whole pages."""
        if not self.is_private and self._descriptor >= 0:
            yield from data_runs(self._descriptor, self.size)
            return
        from gasang.host.pages import page_runs

        yield from self._files
        yield from ((run.offset, run.length) for run in page_runs(self.address, self.size))

    def written(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what was written since `map_files`, perhaps more; whole pages."""
        from gasang.host.pages import page_runs

        yield from self._discarded.ranges()
        yield from ((run.offset, run.length) for run in page_runs(self.address, self.size) if run.own)

    def is_zero(self, offset: int, length: int) -> bool:
        """Whether so many bytes, _LARGE at most, are all zero; they lie inside."""
        return not _memcmp()(self.address + offset, _ZEROES, length)

    def prefetch(self, offset: int, length: int, *, write: bool) -> None:
        """Have the pages here before they are asked for; where the host cannot, they come when they are. All lies inside."""
        populate(self.address + offset, length, write=write)

    def discard(self, offset: int, length: int) -> None:
        """Give the whole pages of a range, which lies inside, back to the host: they read as zeroes, or stay where it cannot take them."""
        start, end = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE, (offset + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if start >= end:
            return
        if not self.is_private:
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    punch_hole(self._descriptor, start, end - start)
            self._gathered.difference_update(range(start // HUGE * HUGE, end, HUGE))
            return
        self._discarded.add(start, end - start)
        if not overlapping(self._files, start, end - start):
            _libc().madvise(ctypes.c_void_p(self.address + start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
        elif end - start >= _WORTH and self._places < _MOST_PLACES:
            self._empty(start, end - start)

    def _empty(self, offset: int, length: int) -> None:
        """Zeroes in the place of a file's content."""
        try:
            _map_fixed(self.address + offset, length, -1, 0)
        except OutOfSpaceError:
            return
        self._advise(offset, length)
        self._files = without(self._files, offset, length)
        self._places += 1

    def advise(self, *, merge: bool = True, huge: bool = False) -> None:
        """Let the host merge equal pages (KSM, where its administrator has switched that on; copy-on-write memory alone), use huge pages.

        Before this is called the advice is as by default: huge pages make what a twin writes to cost 2 MiB. A host that has no use for
        advice takes none.
        """
        undone = (_SMALL_PAGES,) if _HUGEPAGE in self._advice and not huge else ()
        self._advice = (*((_MERGEABLE,) if merge else ()), *((_HUGEPAGE,) if huge else ()), *undone)
        self._advise(0, self.size)

    def gather(self) -> Iterator[bool]:
        """Have what is in use lie in huge pages where it fills them: whether it does, one at each step. Not where it is copied on write."""
        if self.is_private or self._descriptor < 0:
            return
        found = list(full(data_runs(self._descriptor, self.size), self.size))
        self._gathered.intersection_update(found)
        for start in found:
            if self.is_private:
                return
            if start not in self._gathered:
                failed = collapse(self.address + start)
                if failed not in LATER:
                    self._gathered.add(start)
                yield not failed

    def _advise(self, offset: int, length: int) -> None:
        for advice in self._advice if sys.platform.startswith("linux") else ():
            _libc().madvise(ctypes.c_void_p(self.address + offset), ctypes.c_size_t(length), ctypes.c_int(advice))

    def release(self) -> None:
        """Give what was touched back to the host; it reads as zeroes again (where the host cannot, it stays as it is)."""
        if self.is_private:
            self._replace(-1)
            self._files, self._places = (), 0
            self._discarded.clear()
            self._advise(0, self.size)
        else:
            self.discard(0, self.size)

    def touched(self) -> int:
        """Bytes the host has allocated, where it can tell; else 0."""
        return _resident(self.address, self.size)


def _map_aligned(size: int) -> tuple[mmap.mmap, int]:
    """A mapping of memory that is copied on write, and where in it `size` bytes begin that huge pages may be made of."""
    mapped = mmap.mmap(-1, size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    return mapped, -ctypes.addressof(ctypes.c_char.from_buffer(mapped)) % HUGE


def _map_named(size: int, name: str) -> tuple[mmap.mmap, int, int]:
    """A mapping, where in it the memory begins, and the memory's descriptor where it has one, else -1."""
    if not hasattr(os, "memfd_create"):
        return mmap.mmap(-1, size), 0, -1
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        if size < HUGE or not sys.platform.startswith("linux"):
            return mmap.mmap(descriptor, size, mmap.MAP_SHARED), 0, descriptor
        mapped, start = _map_aligned(size)
        _map_fixed(ctypes.addressof(ctypes.c_char.from_buffer(mapped, start)), size, descriptor, 0, shared=True)
    except BaseException:
        os.close(descriptor)
        raise
    return mapped, start, descriptor


def _map_fixed(address: int, size: int, descriptor: int, offset: int, *, shared: bool = False) -> None:
    """Put memory over what is at `address`: of a file, or zeroes (descriptor -1); copy-on-write, or `shared` with the file."""
    if not sys.platform.startswith("linux"):
        raise UnsupportedError("guest memory", "this host cannot put copy-on-write memory in its place", "use a Linux host")
    flags = (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | _MAP_FIXED | _MAP_NORESERVE | (mmap.MAP_ANONYMOUS if descriptor < 0 else 0)
    if _libc().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, offset) in (None, _FAILED):
        number = ctypes.get_errno()
        cause = f"the host cannot map them ({os.strerror(number)})"
        hint = "raise vm.max_map_count" if number == errno.ENOMEM else "use a file system that can be mapped"
        raise OutOfSpaceError(f"{size} bytes of guest memory", cause, hint)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return libc


@cache
def _memcmp() -> Any:
    function = ctypes.CDLL(None).memcmp
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    return function


def _resident(address: int, size: int) -> int:
    """From /proc/self/smaps: the mapping's Rss."""
    try:
        with open("/proc/self/smaps", encoding="ascii") as file:
            inside = False
            for line in file:
                if "-" in line.split(" ", 1)[0]:
                    inside = int(line.split("-", 1)[0], 16) == address
                elif inside and line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def populate(address: int, length: int, *, write: bool = True) -> None:
    """Have the pages of so many bytes here, this process's own if they are to be written; where the host cannot, they come when needed."""
    if sys.platform.startswith("linux"):
        start = address & -mmap.PAGESIZE
        advice = _POPULATE_WRITE if write else _POPULATE_READ
        _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + length - start), ctypes.c_int(advice))


def drop_code_pages(library: str) -> None:
    """Let go of a loaded library's code in memory; what runs again comes back from the file.

    Only where /proc tells which pages those are.
    """
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            ranges = [line.split()[0] for line in file if library in line and " r-xp " in line]
    except OSError:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for text in ranges:
        start, end = (int(part, 16) for part in text.split("-"))
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def trim_heap() -> None:
    """Give the host back what the C library keeps of memory that was freed; where it cannot, nothing happens.

    A thread's large work leaves the library holding several times of what is in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
