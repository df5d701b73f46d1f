"""The compiled loop does what the devices' own code does: the same rings, memory, disk, frames and state, whatever a guest asks for."""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gasang.core.protocols import Block
from gasang.devices.virtio.block import SECTOR, VirtioBlock
from gasang.devices.virtio.device import EVENT_IDX
from gasang.devices.virtio.net import RECEIVE, TRANSMIT, VirtioNet
from gasang.devices.virtio.pump import pump as module
from gasang.devices.virtio.transport import NEEDS_RESET
from gasang.storage.memory import Memory
from gasang.storage.overlay import CLUSTER, Overlay
from gasang.storage.raw import Raw
from support.board_parts import RAM_BASE
from support.pumps import PumpDriver
from support.virtio_driver import NEXT, WRITE

SIZE = 64 * CLUSTER + 3 * SECTOR
"""The last cluster is not whole."""
READ, STORE, FLUSH, IDENTITY = 0, 1, 4, 8


def filled(path: Path, seed: int = 1) -> Path:
    path.write_bytes(random.Random(seed).randbytes(SIZE))
    return path


def raw(folder: Path) -> Block:
    return Raw.open(filled(folder / "raw"))


def fixed(folder: Path) -> Block:
    return Raw.open(filled(folder / "fixed"), read_only=True)


def layer(folder: Path) -> Block:
    """Some clusters are its own."""
    made = Overlay(Raw.open(filled(folder / "base"), read_only=True), str(folder))
    for cluster in (3, 4, 9):
        made.write(cluster * CLUSTER, bytes([cluster]) * CLUSTER)
    return made


def layers(folder: Path) -> Block:
    """Of several, the top one still empty."""
    made = layer(folder)
    assert isinstance(made, Overlay)
    made.split()
    made.write(4 * CLUSTER, b"second" * 1000)
    made.split()
    return made


def named(folder: Path) -> Block:
    """One that stays."""
    return Overlay.open(Raw.open(filled(folder / "base"), read_only=True), folder / "named", b"base")


DISKS = {made.__name__: made for made in (raw, fixed, layer, layers, named)}


@contextmanager
def driver(block: Block, *, compiled: bool, event_index: bool = False, read_only: bool = False) -> Iterator[PumpDriver]:
    """A disk of the block, its driver ready."""
    made = PumpDriver(VirtioBlock(block, read_only=read_only), compiled=compiled)
    made.start(without=0 if event_index else EVENT_IDX)
    try:
        yield made
    finally:
        made.close()
        block.close()


Asked = tuple[list[bytes], list[int], bool]
"""Segments to read, sizes of those to fill, and whether they are in a table of their own."""


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """In pieces, one of which may be empty."""
    ends = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(3)))
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def some_request(chance: random.Random) -> Asked:
    """Most are sound reads and writes; others are odd in some way."""
    kind = chance.choice([*[READ] * 8, *[STORE] * 8, FLUSH, IDENTITY, 99])
    sectors = chance.choice([1, 2, 3, 8, 8, 16, 24])
    sector = chance.choice([chance.randrange(SIZE // SECTOR + 2), chance.randrange(SIZE // CLUSTER) * 8, (SIZE // SECTOR) - sectors])
    length = chance.choice([sectors * SECTOR] * 20 + [sectors * SECTOR - 1, 0])
    header = struct.pack("<IIQ", kind, 0, chance.choice([sector] * 20 + [1 << 63, (1 << 64) - 1]))
    headers = [header] if chance.random() < 0.95 else cut(chance, header)
    data = cut(chance, chance.randbytes(length)) if kind in (STORE, FLUSH) else []
    room = [len(piece) for piece in cut(chance, bytes(length))] if kind in (READ, IDENTITY, 99) else []
    if chance.random() < 0.95:
        room.append(1)
    elif room:
        room[-1] += 1
    return [*headers, *data], room, chance.random() < 0.4


def ask(made: PumpDriver, asked: Asked) -> list[tuple[int, bytes]]:
    """What is used then."""
    ring = made.rings[0]
    ring.add(asked[0], asked[1], asked[2])
    made.notify(0)
    return ring.take_used()


@pytest.mark.parametrize("event_index", [False, True])
@pytest.mark.parametrize("name", DISKS)
def test_it_does_what_the_device_does(name: str, event_index: bool, tmp_path: Path) -> None:
    """A guest's life of requests, told apart by nothing that it or anybody else can see."""
    folders = [tmp_path / side for side in ("own", "compiled")]
    for folder in folders:
        folder.mkdir()
    blocks = [DISKS[name](folder) for folder in folders]
    read_only = name == "fixed"
    with (
        driver(blocks[0], compiled=False, event_index=event_index, read_only=read_only) as own,
        driver(blocks[1], compiled=True, event_index=event_index, read_only=read_only) as compiled,
    ):
        chance = random.Random(f"{name} {event_index}")
        for number in range(250):
            asked = some_request(chance)
            if not asked[1]:
                continue  # a guest that has no place for an answer: its device fails, below
            found = [ask(made, asked) for made in (own, compiled)]
            assert found[0] == found[1], (number, asked[0][0], asked[1])
            if number % 16 == 15:
                for made in (own, compiled):
                    made.rings[0].heap = made.rings[0].used + 8 * made.rings[0].size + 64
                assert own.interrupts() == compiled.interrupts()
                assert own.memory.content == compiled.memory.content
            if number % 50 == 49:
                assert own.transport.save() == compiled.transport.save(), "and it is lent again after that"
        assert blocks[0].read(0, SIZE) == blocks[1].read(0, SIZE)
        assert own.bells.answered > 200
        assert compiled.bells.answered < own.bells.answered // (1 if name in ("fixed", "named") else 2), "most are no business of Python's"
        assert own.faults == compiled.faults == []


def test_a_batch_is_served_in_one_go_with_one_interrupt(tmp_path: Path) -> None:
    with driver(raw(tmp_path), compiled=True) as made:
        ask(made, ([struct.pack("<IIQ", READ, 0, 0)], [SECTOR, 1], False))
        assert made.interrupts() == 1
        answered = made.bells.answered
        ring = made.rings[0]
        heads = [ring.add([struct.pack("<IIQ", READ, 0, sector)], [SECTOR, 1]) for sector in range(5)]
        made.notify(0)
        content = (tmp_path / "raw").read_bytes()
        assert ring.take_used() == [(head, content[at * SECTOR :][:SECTOR] + b"\0") for at, head in enumerate(heads)]
        assert made.interrupts() == 1
        assert made.bells.answered == answered


def test_no_interrupt_where_the_driver_wants_none(tmp_path: Path) -> None:
    with driver(raw(tmp_path), compiled=True) as made:
        made.rings[0].set_flags(1)
        for _ in range(3):
            ask(made, ([struct.pack("<IIQ", READ, 0, 0)], [SECTOR, 1], False))
        assert made.interrupts() == 0


def test_a_masked_vector_keeps_what_comes_pending(tmp_path: Path) -> None:
    read = ([struct.pack("<IIQ", READ, 0, 0)], [SECTOR, 1], False)
    with driver(raw(tmp_path), compiled=True) as made:
        for _ in range(2):
            ask(made, read)
        made.interrupts()
        made.transport.write(made.table + 16 + 12, 4, 1)
        ask(made, read)
        assert made.interrupts() == 0
        assert made.transport.read(made.pending, 4) == 2
        made.transport.write(made.table + 16 + 12, 4, 0)
        assert made.interrupts() == 1
        assert made.transport.read(made.pending, 4) == 0
        assert made.transport.read(made.where[3], 1) == 1, "the status tells of all of them"
        ask(made, read)
        assert made.transport.read(made.where[3], 1) == 1
        assert made.transport.read(made.where[3], 1) == 0


def test_what_it_writes_to_memory_is_marked(tmp_path: Path) -> None:
    piece = 64
    with driver(raw(tmp_path), compiled=True, event_index=True) as made:
        read = ([struct.pack("<IIQ", READ, 0, 0)], [3 * SECTOR, 1], False)
        ask(made, read)
        pump = made.bells.pump
        assert pump is not None
        marks = (ctypes.c_uint8 * (len(made.memory.content) // piece))()
        pump.watch(ctypes.addressof(marks), piece)
        for sector in (4, 8):
            made.rings[0].add([struct.pack("<IIQ", READ, 0, sector)], [SECTOR, 1])
            before = bytes(made.memory.content)
            answered = made.bells.answered
            made.notify(0)
            assert made.bells.answered == answered
            changed = {at // piece for at in range(len(before)) if before[at] != made.memory.content[at]}
            assert changed
            assert changed <= {number for number, mark in enumerate(marks) if mark}
        pump.watch(0, piece)


def broken(chance: random.Random, made: PumpDriver) -> None:
    """Spoil what a driver writes: descriptors, tables, the ring of what is available."""
    ring = made.rings[0]
    for _ in range(chance.randrange(1, 4)):
        address = chance.choice([chance.randrange(1 << 64), RAM_BASE + chance.randrange(1 << 21), ring.heap - chance.randrange(4096)])
        length = chance.choice([0, 1, 15, 16, 512, 4096, chance.randrange(1 << 32), (1 << 32) - 1])
        flags = chance.choice([0, NEXT, WRITE, NEXT | WRITE, 4, 5, chance.randrange(1 << 16)])
        ring.descriptor(chance.randrange(ring.size), address & (1 << 64) - 1, length, flags, chance.choice([0, 1, 2, 15, 16, 65535]))
    if chance.random() < 0.3:
        made.memory.write(ring.available + 2, struct.pack("<H", chance.choice([ring.next_available + 2, 40, 65535]) & 0xFFFF))


@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_guest_reaches_no_further_than_by_the_devices_own_code(seed: int, tmp_path: Path) -> None:
    """Both go wrong in the same way, or not at all, and what is around the guest's memory and disk stays as it is."""
    folders = [tmp_path / side for side in ("own", "compiled")]
    for folder in folders:
        folder.mkdir()
    blocks = [DISKS["layers"](folder) for folder in folders]
    with driver(blocks[0], compiled=False) as own, driver(blocks[1], compiled=True) as compiled:
        sides = (own, compiled)
        chances = [random.Random(seed) for _ in sides]
        for _ in range(60):
            for made, chance in zip(sides, chances, strict=True):
                if made.status() & NEEDS_RESET or len(made.rings[0].free) < 8 or made.rings[0].heap > RAM_BASE + (1 << 18):
                    made.start()
                asked = some_request(chance)
                made.rings[0].add(asked[0], asked[1] or [1], asked[2])
                if chance.random() < 0.5:
                    broken(chance, made)
                made.notify(0)
                made.notify(0)
            assert own.status() == compiled.status()
            assert own.faults == compiled.faults
            assert own.memory.content == compiled.memory.content
        assert blocks[0].read(0, SIZE) == blocks[1].read(0, SIZE)
        assert own.faults, "some of it was refused"


class Pair:
    """A wire that is one end of a pair of sockets; `came` is what arrived at the other."""

    joins = False

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.sent = 0

    def send(self, frame: Sequence[memoryview]) -> None:
        """By the device's own code."""
        self.sent += 1
        os.writev(self._near.fileno(), frame)

    def agree(self, joins: int) -> None:
        """Nothing."""

    def direct(self) -> int | None:
        """The descriptor."""
        return self._near.fileno()

    def came(self) -> list[bytes]:
        """All that did."""
        frames: list[bytes] = []
        try:
            while True:
                frames.append(self._far.recv(1 << 17))
        except BlockingIOError:
            return frames

    def close(self) -> None:
        """Both ends."""
        self._near.close()
        self._far.close()


@contextmanager
def carded() -> Iterator[tuple[PumpDriver, Pair, VirtioNet]]:
    wire = Pair()
    device = VirtioNet(b"\x02\0\0\0\0\1", wire)
    made = PumpDriver(device)
    made.start()
    try:
        yield made, wire, device
    finally:
        made.close()
        wire.close()


def test_frames_are_sent() -> None:
    frames = [bytes(12) + bytes([number]) * size for number, size in enumerate((60, 1514, 9000, 14))]
    with carded() as (made, wire, _):
        ring = made.rings[TRANSMIT]
        for number, frame in enumerate(frames):
            ring.add([frame[:12], frame[12:]], indirect=bool(number % 2))
            ring.add([b"no frame"])
            made.notify(TRANSMIT)
            assert wire.came() == [frame]
            assert [content for _, content in ring.take_used()] == [b"", b""]
        assert wire.sent == 0
        assert made.interrupts() == len(frames)


def test_a_frame_that_is_longer_than_the_memory_fails_the_card() -> None:
    with carded() as (made, wire, _):
        ring = made.rings[TRANSMIT]
        for index in range(5):
            ring.descriptor(index, RAM_BASE, 1 << 30, NEXT if index < 4 else 0, index + 1)
        ring.publish(0)
        made.notify(TRANSMIT)
        assert wire.came() == []
        assert made.status() & NEEDS_RESET


def test_nothing_is_sent_while_the_cable_is_out() -> None:
    frame = bytes(12) + b"x" * 60
    with carded() as (made, wire, device):
        for is_up, came in ((True, [frame]), (False, []), (False, []), (True, [frame]), (True, [frame])):
            device.set_link(up=is_up)
            made.rings[TRANSMIT].add([frame])
            made.notify(TRANSMIT)
            assert wire.came() == came
            assert len(made.rings[TRANSMIT].take_used()) == 1


def test_what_is_received_comes_by_the_devices_own_code() -> None:
    with carded() as (made, _, device):
        made.rings[TRANSMIT].add([bytes(12) + b"x" * 60])
        made.notify(TRANSMIT)
        ring = made.rings[RECEIVE]
        ring.add(writable=[2000])
        made.notify(RECEIVE)
        assert device.receive([bytes(12) + b"y" * 60]) == 1
        ((_, content),) = ring.take_used()
        assert content[12:] == b"y" * 60


def test_places_are_used_again(tmp_path: Path) -> None:
    """More queues than it has places for, one after the other, and each is served."""
    with driver(raw(tmp_path), compiled=True) as made:
        for _ in range(200):
            made.start()
            for _ in range(2):
                assert len(ask(made, ([struct.pack("<IIQ", READ, 0, 1)], [SECTOR, 1], False))) == 1
        assert made.bells.answered <= 201


def test_a_disk_that_is_no_file_is_served_by_the_device() -> None:
    with driver(Memory(SIZE), compiled=True) as made:
        for number in range(1, 4):
            assert ask(made, ([struct.pack("<IIQ", READ, 0, 1)], [SECTOR, 1], False))[0][1] == bytes(SECTOR + 1)
            assert made.bells.answered == number


def test_there_is_none_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPILER", "no_such_package")
    module._functions.cache_clear()
    try:
        assert module.pump_for([module.Area(0, 4096, 1 << 20)]) is None
        module.prepare()
    finally:
        module._functions.cache_clear()
