"""All that is in an ext4 file system, by path: what tells whether a file is another one than it was."""

from __future__ import annotations

from typing import Final

from gasang.storage.filesystems.ext4 import Ext4, Facts
from gasang.storage.tree import Kind

_MOST: Final = 4_000_000
"""Files: an image with more is made to have no end."""


def listing(system: Ext4) -> dict[bytes, Facts]:
    """Paths, of which the root's is "/". Raises BadInputError for a damaged one."""
    found: dict[bytes, Facts] = {b"/": system.facts(system.root.number)}
    pending = [(b"/", system.root)]
    entered = {system.root.number}
    while pending:
        place, folder = pending.pop()
        for name, number in system.entries(folder).items():
            path = place + name
            found[path] = system.facts(number)
            node = system.node(number)
            if node.kind is Kind.DIRECTORY and number not in entered:  # a hostile one may contain itself
                entered.add(number)
                pending.append((path + b"/", node))
        if len(found) > _MOST:
            raise system.endless()
    return found
