"""The virtio entropy device (virtio 1.2, section 5.4): fills the guest's buffers with random bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import scatter

LARGEST = 64 * 1024
"""Bytes given for one buffer at most; the specification lets the device give fewer than asked."""


class VirtioRng:
    """Entropy from `source`, which gives that many bytes; the host's by default."""

    device_id: int = 4
    features: int = 0
    queue_sizes: Sequence[int] = (8,)

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source
        self._link: Link | None = None

    def config(self) -> bytes:
        """The device has no configuration."""
        return b""

    def start(self, link: Link) -> None:
        """Serve what is waiting already."""
        self._link = link
        self.notify(0)

    def notify(self, index: int) -> None:
        """Fill every buffer that is available."""
        link = self._link
        if link is None:
            return
        queue = link.queues[0]
        while (chain := queue.pop()) is not None:
            data = self._source(min(chain.writable_length(), LARGEST))
            queue.push(chain, scatter(link.memory, chain.writable, data))
        link.used(queue)

    def reset(self) -> None:
        """Stop."""
        self._link = None

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "virtio-rng", 1)
