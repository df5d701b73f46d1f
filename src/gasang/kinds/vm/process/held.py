"""A twin that is forked before anybody wants it, and told who it is when somebody does.

A machine that stands (daemon/vms/standing.py) is forked for each restore. All that does not depend on who asks is done ahead: the fork, the
devices' new locks, and copies of the memory pages that a restored guest writes first, which would be a fault each. What is left is a
message: the twin's folder, its streams, and what its network card is, over a link that the two had before the fork. The twin ends where
that ends.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.control import Handed, receive
from gasang.kinds.vm.snapshot.fork import Twin

READY: Final = b"+"
_COME: Final = "live"


class Held(NamedTuple):
    """One that waits: its process, our end of the link to it, and the folder that it was made for."""

    twin: Twin
    link: socket.socket
    folder: str

    def release(self, words: dict[str, Any], descriptors: Sequence[int]) -> bool:
        """Have it live, as `words` say, with these descriptors; False where it has ended, or is not ready. The link is closed.

        One that is not ready may take its time, on a host that has other things to do: a fork is sooner.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        with self.link, suppress(OSError):
            if self.link.recv(len(READY), socket.MSG_DONTWAIT) == READY:
                return self.link.sendmsg([packets.request(_COME, words)], rights) > 0
        return False

    def drop(self) -> None:
        """Have it end."""
        self.link.close()


def link() -> tuple[socket.socket, socket.socket]:
    """Our end and the twin's, which keeps messages and descriptors together."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def wait(theirs: socket.socket) -> tuple[dict[str, Any], list[Handed]] | None:
    """In the twin, which is ready: what it is to be, and the descriptors; None where nobody wants it any more."""
    with theirs:
        try:
            theirs.sendall(READY)
        except OSError:  # dropped meanwhile
            return None
        received = receive(theirs)
    if received is None:
        return None
    packet, _, handed = received
    words: dict[str, Any] = json.loads(packet)  # its parent has read it before
    return words, handed
