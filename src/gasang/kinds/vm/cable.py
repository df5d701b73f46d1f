"""The cable between a machine's network card and a tap of the host: a thread that waits for frames and gives them to the guest.

It keeps `BATCH` frames at most. While the guest has no room for those it takes no others, and the host's kernel drops what is too much.
The other way the guest's own thread hands a frame to the kernel, which takes it or drops it.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from gasang.devices.virtio import net
from gasang.devices.virtio.net import MOST_PAIRS, VirtioNet
from gasang.host import tap as host
from gasang.host.tap import Tap

BATCH: Final = 32
_KINDS: Final = {
    net.GUEST_CSUM: host.CSUM,
    net.GUEST_TSO4: host.TSO4,
    net.GUEST_TSO6: host.TSO6,
    net.GUEST_ECN: host.TSO_ECN,
}


class Cable:
    """A cable to `tap` and the card at its other end (`card`), as devices.virtio.net.Wire and among a machine's workers.

    To be closed after the machine, and before the tap, which is whose it was.
    """

    joins = True

    def __init__(self, tap: Tap | None, mac: bytes, mtu: int = 1500, pairs: int = 1) -> None:
        """Without a tap the cable is out until there is one (`plug`). `pairs` of queues, as VirtioNet has them."""
        self.card = VirtioNet(mac, self, mtu, self._wake, min(pairs, MOST_PAIRS))
        self._tap = tap
        self._joins = 0
        self._kept: list[bytes] = []
        self._changed = threading.Condition()
        self._held = self._busy = self._closing = False
        if tap is None:
            self.card.set_link(up=False)
        self._begin()

    def _begin(self) -> None:
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = select.epoll()
        self._poller.register(self._waker, select.EPOLLIN)
        if self._tap is not None:
            self._poller.register(self._tap.descriptor, select.EPOLLIN)
        self._listens = self._tap is not None
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    # The card's side.

    def send(self, frame: Sequence[memoryview]) -> None:
        """Into the tap, or lost."""
        if self._tap is not None:
            self._tap.send(frame)

    def direct(self) -> int | None:
        """The tap's descriptor."""
        return None if self._tap is None else self._tap.descriptor

    def agree(self, joins: int) -> None:
        """Tell the tap what the driver takes."""
        self._joins = sum(kind for feature, kind in _KINDS.items() if joins & feature) if joins & net.GUEST_CSUM else 0
        if self._tap is not None:
            self._tap.join(self._joins)

    def _wake(self) -> None:
        """There is room in the guest, or something else to look at."""
        os.eventfd_write(self._waker, 1)

    # As a worker of the machine.

    def hold(self) -> None:
        """Return once nothing is being given to the guest; nothing is until `release`. Never with the bus lock held."""
        with self._changed:
            self._held = True
            self._wake()
            self._changed.wait_for(lambda: not self._busy)

    def release(self) -> None:
        """Go on."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def renew(self) -> None:
        """In a process forked while this was held: the tap is the parent's. What the twin's card sends is lost until it has one (`plug`).

        Its guest sees nothing of that: the cable goes out for it when nobody will plug in another (`unplug`).
        """
        if self._tap is not None:
            self._tap.close()
        self._tap, self._kept = None, []
        os.close(self._waker)
        self._poller.close()
        self._changed = threading.Condition()
        self._held = self._busy = False
        self._begin()

    def unplug(self) -> None:
        """Where there is no tap, and none is to come: the guest sees the cable go out."""
        self.card.set_link(up=False)

    def plug(self, tap: Tap) -> None:
        """Have a tap where there is none; the guest sees the cable go in, if it was out for it."""
        self.hold()
        self._tap = tap
        tap.join(self._joins)
        self._poller.register(tap.descriptor, select.EPOLLIN)
        self._listens = True
        self.release()
        self.card.set_link(up=True)

    def close(self) -> None:
        """End the thread. Twice is once."""
        if self._closing:
            return
        with self._changed:
            self._closing, self._held = True, False
            self._changed.notify_all()
            self._wake()
        self._thread.join()
        self._poller.close()
        os.close(self._waker)

    # The thread.

    def _run(self) -> None:
        while not self._closing:  # looked at after the waker was read: what woke us may have been the end
            events = dict(self._poller.poll())
            with self._changed:
                self._changed.wait_for(lambda: not self._held)
                if self._closing:
                    return
                self._busy = True
            try:
                self._pass_on(events)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _pass_on(self, events: Mapping[int, int]) -> None:
        """Give the guest what was kept, or else what has come since."""
        if self._waker in events:
            os.eventfd_read(self._waker)
        if self._tap is None:
            return
        if events.get(self._tap.descriptor, 0) & (select.EPOLLERR | select.EPOLLHUP):
            self._gone(self._tap)
            return
        frames = self._kept or self._tap.receive(BATCH)
        self._kept = frames[self.card.receive(frames) :]
        if self._listens == bool(self._kept):
            self._listens = not self._kept
            self._poller.modify(self._tap.descriptor, select.EPOLLIN if self._listens else 0)

    def _gone(self, tap: Tap) -> None:
        """Somebody has deleted the interface: the guest sees the cable go out."""
        self._poller.unregister(tap.descriptor)
        self._kept = []
        self.card.set_link(up=False)
