"""A disk image as a block device of the host: the kernel is the client, at the other end of a pair of sockets."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Final

from gasang.host.nbd import SECTOR, NetworkDevice
from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.server import Offer, Warn, converse
from gasang.storage.nbd.server_core import Session

_FLAGS: Final = wire.HAS_FLAGS | wire.READ_ONLY | wire.SEND_FLUSH | wire.SEND_FUA | wire.SEND_TRIM
"""Those of ours that the kernel's client knows in every version."""
_MOMENT: Final = 0.01
"""Seconds between two looks whether the device is there."""


class Attached:
    """`offer` behind `device` until it is closed. Raises what `device` raises; `warn` hears if the kernel lets go of it before."""

    def __init__(self, offer: Offer, device: NetworkDevice, warn: Warn) -> None:
        self.device = device
        self._closing = False
        self._ended = threading.Event()
        self._offer = offer
        self._warn = warn
        self._kernel, self._own = socket.socketpair()
        session, size, flags = _chosen(offer)
        try:
            device.attach(self._kernel.fileno(), size, flags & _FLAGS)
        except BaseException:
            self._kernel.close()
            self._own.close()
            raise
        if size % SECTOR:
            warn(f"the last {size % SECTOR} bytes of the disk are no whole sector, and are left out")
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._serve, args=(session,))]
        for thread in self._threads:
            thread.start()
        while not device.is_used:  # the kernel tells nobody
            if self._ended.wait(_MOMENT):
                break

    def _run(self) -> None:
        self.device.run()
        self._own.shutdown(socket.SHUT_RDWR)
        self._ended.set()
        if not self._closing:
            self._warn("the kernel has let go of the device")

    def _serve(self, session: Session) -> None:
        try:
            converse(self._own, session, self._offer)
        except OSError:  # the kernel has let go
            pass
        except wire.ProtocolError as error:
            self._warn(f"the kernel was let go: {error}")
        finally:
            self._own.shutdown(socket.SHUT_RDWR)  # the kernel waits for it, even when it has said goodbye

    def close(self) -> None:
        """Detach it, keep what was written, and close the disk. Raises GasangError, and what the image raises."""
        self._closing = True
        try:
            self.device.detach()
        finally:
            for thread in self._threads:
                thread.join()
            self.device.close()
            self._kernel.close()
            self._own.close()
            self._offer.close()


def _chosen(offer: Offer) -> tuple[Session, int, int]:
    """A session in which the disk is chosen, for the kernel speaks only what comes after; its size in bytes and transmission flags."""
    session = Session({"": offer.export})
    flags = struct.pack(">I", wire.FIXED_NEWSTYLE | wire.NO_ZEROES)
    size, flags = struct.unpack(">QH", session.feed(flags + wire.option_head.pack(wire.IHAVEOPT, wire.EXPORT_NAME, 0)))
    return session, size, flags
