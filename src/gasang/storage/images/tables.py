"""A table of numbers in a file, read in pages when they are needed; changes wait in memory until `write`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable

from gasang.storage.images.store import Store

PAGE = 8192
"""Entries of a page, where a format has no opinion."""
_PAGES_MAX = 256


class Table:
    """`count` numbers of array's type `code`, in byte order `order`.

    `places` tells where in the file the entries of a page are; nowhere: they are zero. All places are written.
    """

    def __init__(
        self, store: Store, code: str, order: str, count: int, places: Callable[[int], tuple[int, ...]], per_page: int = PAGE
    ) -> None:
        self._store = store
        self._code = code
        self._swap = order != sys.byteorder
        self.count = count
        self.width = array(code).itemsize
        self.per_page = per_page
        self._places = places
        self._pages: dict[int, array[int]] = {}
        self._dirty: set[int] = set()

    def __getitem__(self, index: int) -> int:
        """An entry."""
        return self.page(index // self.per_page)[index % self.per_page]

    def __setitem__(self, index: int, value: int) -> None:
        """Change an entry, in memory."""
        number = index // self.per_page
        self.page(number)[index % self.per_page] = value
        self._dirty.add(number)

    def page(self, number: int) -> array[int]:
        """The entries of a page, the last one cut to the table."""
        found = self._pages.get(number)
        if found is None:
            if len(self._pages) >= _PAGES_MAX:
                for old in [old for old in self._pages if old not in self._dirty]:
                    del self._pages[old]
            length = min(self.per_page, self.count - number * self.per_page) * self.width
            places = self._places(number)
            found = self._pages[number] = array(self._code, self._store.read(places[0], length) if places else bytes(length))
            if self._swap:
                found.byteswap()
        return found

    @property
    def dirty_pages(self) -> list[int]:
        """Pages that `write` has to write."""
        return sorted(self._dirty)

    def write(self) -> None:
        """Put what changed into the file."""
        for number in self.dirty_pages:
            page = self._pages[number]
            if self._swap:
                page = page[:]
                page.byteswap()
            for place in self._places(number):
                self._store.write(place, page.tobytes())
        self._dirty.clear()


def at(offset: int, width: int, per_page: int = PAGE) -> Callable[[int], tuple[int, ...]]:
    """The places of a table that lies in one piece from `offset` on."""
    return lambda page: (offset + page * per_page * width,)
