"""What the answers about one shared folder have in common: the folder, and what its guest knows and has open."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from gasang.core.protocols import State
from gasang.storage.share import wire
from gasang.storage.share.folder import Folder
from gasang.storage.share.handles import Handle, Handles
from gasang.storage.share.nodes import Node, Nodes
from gasang.storage.share.wire import Header, Refusal, attributes

CACHED: Final = 1
"""Seconds for which the guest believes what it was told of names and attributes; then it sees what the host has changed."""
LARGEST: Final = 512 << 10
"""Bytes read or written by one request."""
NO_ID: Final = 0xFFFF_FFFF


class Share:
    """The folder at `path`. To be closed when nobody asks about it any more."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises what Folder raises."""
        self.folder = Folder(path)
        self.read_only = read_only
        self.nodes = Nodes(self.folder.key)
        self.handles = Handles()
        self._devices = {self.folder.key[0]: 0}

    def entry(self, parent: Node, name: str) -> bytes:
        """What the guest is told of a directory's entry (fuse_entry_out)."""
        status = self.folder.look(parent, name)
        node = self.nodes.seen(parent, name, status)
        return wire.ENTRY.pack(node.number, 0, CACHED, CACHED, 0, 0) + self.attributes(status)

    def attributes(self, status: os.stat_result) -> bytes:
        """A file's (fuse_attr). What is mounted in the folder begins with the inode number of its root, as the folder itself may do."""
        return attributes(status, self._devices.setdefault(status.st_dev, len(self._devices)) & 0xFFFF)

    def reset(self) -> None:
        """Forget the guest: what it had open is closed."""
        self.handles.clear()
        self.nodes.clear()

    def renew(self) -> None:
        """In a forked process: directories are read from positions of its own."""
        for _, handle in self.handles:
            if handle.is_directory and handle.descriptor >= 0:
                os.close(handle.descriptor)
                handle.descriptor = self._opened(handle)

    def close(self) -> None:
        """Let go of the folder."""
        self.reset()
        self.folder.close()

    def save(self) -> State:
        """What the guest knows, and has open."""
        opened = [[number, handle.node.number, handle.flags, int(handle.is_directory)] for number, handle in self.handles]
        return {"nodes": self.nodes.save(), "handles": opened}

    def load(self, state: State) -> None:
        """Become the saved one, of the same folder or a copy of it: what is not there any more is an error when it is asked for."""
        self.reset()
        self.nodes.load(state["nodes"])
        for number, node, flags, is_directory in state["handles"]:
            with suppress(Refusal):
                handle = Handle(self.nodes.get(node), -1, flags, bool(is_directory))
                handle.descriptor = self._opened(handle)
                self.handles.add(handle, number)

    def _opened(self, handle: Handle) -> int:
        """A new descriptor for a handle; -1 where there is no such file any more."""
        try:
            if handle.is_directory:
                return self.folder.open_directory(handle.node)
            return self.folder.open_file(handle.node, handle.flags & ~os.O_TRUNC)
        except (OSError, Refusal):
            return -1


def owner(header: Header) -> tuple[int, int]:
    """Whose a new file is: the program's that asks for it."""
    if NO_ID in (header.uid, header.gid):
        raise Refusal(errno.EINVAL)
    return header.uid, header.gid
