"""Notices when dockerd makes its chain (docker_user.py) on a host where our networks are there already.

The kernel tells of each change of its rules (NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h). Of rules of the old kind it tells nobody.
"""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gasang.core.errors import BadInputError
from gasang.host.netlink import NETFILTER, attributes, decode
from gasang.network.docker_user import CHAIN
from gasang.network.loop import Loop

_GROUP: Final = 1 << (7 - 1)
_NEW_CHAIN: Final = 10 << 8 | 3
_NAME: Final = 3
_FAMILY_HEADER: Final = 4
_LARGEST: Final = 1 << 16


class DockerComing:
    """Calls `noticed`, in a thread of its own, when a chain of that name is made or changed in the namespace that this is made in."""

    def __init__(self, noticed: Callable[[], None]) -> None:
        self._noticed = noticed
        self._loop = Loop("docker-coming")
        self._socket: socket.socket | None = None
        with suppress(OSError):  # without it the next machine that joins notices
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETFILTER)
            self._socket.bind((0, _GROUP))
            self._loop.call(self._begin)

    def close(self) -> None:
        """Notice no more."""
        self._loop.close(lambda: None)
        if self._socket is not None:
            self._socket.close()

    def _begin(self) -> None:
        assert self._socket is not None
        self._loop.selector.register(self._socket, selectors.EVENT_READ, self._heard)

    def _heard(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_LARGEST)
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # more was told than we could hear
                self._noticed()
            return
        if is_about_it(data):
            self._noticed()


def is_about_it(data: bytes) -> bool:
    """Whether one of these messages tells of the chain."""
    name = CHAIN.encode() + b"\0"
    with suppress(BadInputError):
        return any(told.kind == _NEW_CHAIN and (_NAME, name) in attributes(told.body, _FAMILY_HEADER) for told in decode(data))
    return False
