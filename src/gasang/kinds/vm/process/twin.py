"""A twin of a machine: what it is given, what is heard of it first, and who waits for its end."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from gasang.core.errors import StateError, UsageError
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.process.control import Handed
from gasang.kinds.vm.process.lessons import Lesson
from gasang.kinds.vm.process.told import FAILED, READY
from gasang.kinds.vm.snapshot.fork import Twin
from gasang.kinds.vm.sockets import GuestSockets
from gasang.storage.chain import Chain

_SENTENCE: Final = 2048
_FIRST_WORD: Final = 20.0
"""Seconds for a twin to say that it lives, which takes it some milliseconds: one that lacks what it needs may stand still for ever."""


class TwinLife(NamedTuple):
    """What a twin is given: its folder, the streams of its stand-in, its link to that, and what its guest calls itself.

    And what its network card is, and the tap that it is plugged into, if any. One that `replaces` a machine has its folder, and its disk's
    layers instead of those that are there. Where there is a `lesson`, it tells its parent there what code it needed.
    """

    folder: Path
    streams: list[int]
    link: socket.socket
    name: str
    card: Card | None = None
    tap: int = -1
    replaces: bool = False
    lesson: Lesson | None = None
    handed: Sequence[Handed] = ()
    volumes: Mapping[str, str] = {}
    """The folders of its volumes, by those of the volumes that they are clones of."""


def heirs(found: object) -> dict[str, str]:
    """The folders of a twin's volumes, as a request has them. Raises UsageError."""
    heirs = found or {}
    if not isinstance(heirs, dict) or not all(isinstance(path, str) and os.path.isabs(path) for path in heirs.values()):
        raise UsageError("fork of a machine", "its volumes are no folders", "send a folder for each volume")
    return heirs


def bequeathed(vm: AnyMachine, life: TwinLife) -> AbstractContextManager[None]:
    """While a twin is forked: its volumes are its own."""
    if not life.volumes:
        return nullcontext()
    from gasang.kinds.vm import volumes  # most machines have none

    return volumes.bequeathed(vm, life.volumes)


def introduced(twin: Twin, ready: socket.socket) -> dict[str, Any]:
    """What is told of a twin that says READY there. Raises StateError where it does not live, and it does not from then on."""
    ready.settimeout(_FIRST_WORD)
    try:
        word = ready.recv(_SENTENCE)
    except TimeoutError:
        twin.kill()
        word = b"%snothing was heard of it for %g s" % (FAILED, _FIRST_WORD)
    if not word.startswith(READY):
        cause = word.removeprefix(FAILED).decode("utf-8", "replace") or "it ended at once"
        raise StateError("fork of a machine", f"the twin did not begin to live ({cause})", "look at the machine's log")
    identity = twin.identity
    return {"pid": int(word.removeprefix(READY)), "name": identity.name, "mac": identity.mac.hex(":")}


def bury(coming: SimpleQueue[Twin | None]) -> None:
    """Wait for the end of the twin that comes, if one does: on a thread of its own, as nobody else can."""
    if (twin := coming.get()) is not None:
        twin.wait()


def chains(vm: AnyMachine) -> list[Chain]:
    """Its disks that are layers."""
    return [device.block for device in vm.disks() if isinstance(device.block, Chain)]


def put_down(vm: AnyMachine, sockets: GuestSockets | None) -> None:
    """Have on the disks what the guest of a machine that has ended wrote there, and its sockets gone."""
    if sockets is not None:
        sockets.close()
    for worker in vm.workers:
        worker.close()
    for device in vm.disks():
        device.block.close()
