"""The disk: requests as drivers make them, refusals, long requests on a worker, resets in the middle of them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import OutOfSpaceError
from gasang.devices.virtio.block import (
    DISCARD,
    FLUSH,
    INLINE,
    MOST_QUEUES,
    MULTI_QUEUE,
    READ_ONLY,
    SEGMENTS,
    TYPE_DISCARD,
    TYPE_FLUSH,
    TYPE_GET_ID,
    TYPE_IN,
    TYPE_OUT,
    TYPE_WRITE_ZEROES,
    WRITE_ZEROES,
    VirtioBlock,
)
from gasang.devices.worker import Worker
from support.board_parts import FakeMemory, MemoryBlock
from support.virtio_driver import CONFIG, STATUS, Driver

OK, IO_ERROR, UNSUPPORTED = b"\0", b"\1", b"\2"
NEEDS_RESET = 64
SECTORS = 128


def header(kind: int, sector: int = 0) -> bytes:
    return struct.pack("<IIQ", kind, 0, sector)


def ranges(*triples: tuple[int, int, int]) -> bytes:
    return b"".join(struct.pack("<QII", *triple) for triple in triples)


class Disk:
    """A driver and the disk behind its device."""

    def __init__(self, later: Callable[[Callable[[], None]], None] | None = None, memory: int = 1 << 20, **options: object) -> None:
        self.block = MemoryBlock(SECTORS * 512)
        self.errors: list[str] = []
        self.device = VirtioBlock(self.block, later, on_error=self.errors.append, **options)  # type: ignore[arg-type]
        self.driver = Driver(self.device, FakeMemory(memory)).start()

    def request(
        self, kind: int, sector: int = 0, data: tuple[bytes, ...] = (), room: tuple[int, ...] = (), indirect: bool = False
    ) -> bytes:
        return self.driver.request(0, [header(kind, sector), *data], [*room, 1], indirect)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.mark.parametrize("indirect", [False, True])
def test_writes_and_reads_back(disk: Disk, indirect: bool) -> None:
    text = bytes(range(256)) * 6
    assert disk.request(TYPE_OUT, 5, (text[:100], text[100:]), indirect=indirect) == OK
    assert disk.block.content[5 * 512 : 8 * 512] == text
    assert disk.request(TYPE_IN, 5, room=(512, 1000, 24), indirect=indirect) == text + OK
    assert [name for name, _, _ in disk.block.calls] == ["write", "read"], "one call of the disk a request"
    assert disk.driver.acknowledge() == 1


def test_a_driver_hears_of_another_size(disk: Disk) -> None:
    assert disk.request(TYPE_OUT, SECTORS, (bytes(512),)) == IO_ERROR
    disk.block.content.extend(bytes(512 * SECTORS))
    disk.block.size += 512 * SECTORS
    disk.driver.acknowledge()
    disk.device.resized()
    assert disk.driver.read(CONFIG) == SECTORS * 2
    assert disk.driver.acknowledge() & 2
    assert disk.request(TYPE_OUT, SECTORS * 2 - 1, (b"x" * 512,)) == OK
    disk.device.reset()
    disk.device.resized()  # nobody is there to be told


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.integers(0, SECTORS - 1), st.booleans())
def test_any_layout_of_a_request_reads_the_same(cuts: list[int], sector: int, joined: bool) -> None:
    """Header, data and status may share descriptors (2.7.4): no layout is assumed."""
    disk = Disk()
    disk.block.content[:] = bytes(range(256)) * (len(disk.block.content) // 256)
    length = min(2, SECTORS - sector) * 512
    room, rest = [], length + (1 if joined else 0)
    for cut in cuts:
        if rest:
            room.append(min(cut, rest))
            rest -= room[-1]
    if rest:
        room.append(rest)
    front = header(TYPE_IN, sector)
    content = disk.driver.request(0, [front[: cuts[0] % 16], front[cuts[0] % 16 :]], room if joined else [*room, 1])
    assert content == bytes(disk.block.content[sector * 512 : sector * 512 + length]) + OK


def test_flush_and_identity(disk: Disk) -> None:
    assert disk.request(TYPE_FLUSH) == OK
    assert disk.block.calls == [("flush", 0, 0)]
    named = Disk(serial="gasang-root-0123456789abcdef")
    assert named.request(TYPE_GET_ID, room=(20,)) == b"gasang-root-01234567" + OK
    assert disk.request(TYPE_GET_ID, room=(20,)) == bytes(20) + OK


def test_discards_and_writes_zeroes(disk: Disk) -> None:
    disk.block.content[:] = b"x" * len(disk.block.content)
    assert disk.request(TYPE_DISCARD, data=(ranges((0, 8, 0), (16, 8, 0)),)) == OK
    assert disk.block.calls == [("discard", 0, 4096), ("discard", 8192, 4096)]
    assert disk.request(TYPE_WRITE_ZEROES, data=(ranges((1, 2, 0), (100, 1, 1)),)) == OK
    assert disk.block.content.count(0) == 3 * 512
    assert disk.block.content[512 : 3 * 512] == bytes(1024)


def test_a_disk_that_can_zero_ranges_is_asked_to() -> None:
    class Sparse(MemoryBlock):
        def write_zeroes(self, offset: int, length: int) -> None:
            self._check("zero", offset, length)

    block = Sparse(1 << 16)
    driver = Driver(VirtioBlock(block)).start()
    assert driver.read(CONFIG + 56, 1) == 1
    assert driver.request(0, [header(TYPE_WRITE_ZEROES), ranges((0, 128, 1))], [1]) == OK
    assert block.calls == [("zero", 0, 1 << 16)]


def test_describes_itself(disk: Disk) -> None:
    read = disk.driver.read
    assert (read(CONFIG), read(CONFIG + 4), read(CONFIG + 12), read(CONFIG + 20)) == (SECTORS, 0, SEGMENTS, 512)
    assert (read(CONFIG + 36), read(CONFIG + 40), read(CONFIG + 44)) == (1 << 22, 32, 8)
    assert (read(CONFIG + 48), read(CONFIG + 52), read(CONFIG + 56, 1)) == (1 << 16, 32, 0)
    assert disk.device.features & (READ_ONLY | FLUSH | DISCARD | WRITE_ZEROES) == FLUSH | DISCARD | WRITE_ZEROES


def test_a_read_only_disk_only_reads() -> None:
    disk = Disk(read_only=True)
    assert disk.device.features & (READ_ONLY | DISCARD | WRITE_ZEROES) == READ_ONLY
    assert disk.request(TYPE_OUT, 0, (bytes(512),)) == IO_ERROR
    assert disk.request(TYPE_DISCARD, data=(ranges((0, 1, 0)),)) == IO_ERROR
    assert disk.request(TYPE_WRITE_ZEROES, data=(ranges((0, 1, 0)),)) == IO_ERROR
    assert not disk.block.calls
    assert disk.request(TYPE_IN, room=(512,)) == bytes(512) + OK


@pytest.mark.parametrize(
    ("kind", "sector", "data", "room", "status"),
    [
        (TYPE_IN, SECTORS, (), (512,), IO_ERROR),
        (TYPE_IN, SECTORS - 1, (), (1024,), IO_ERROR),
        (TYPE_IN, (1 << 64) - 1, (), (512,), IO_ERROR),
        (TYPE_IN, 1 << 55, (), (512,), IO_ERROR),
        (TYPE_IN, 0, (), (511,), IO_ERROR),
        (TYPE_OUT, SECTORS, (bytes(512),), (), IO_ERROR),
        (TYPE_OUT, 0, (bytes(100),), (), IO_ERROR),
        (TYPE_DISCARD, 0, (ranges((0, SECTORS + 1, 0)),), (), IO_ERROR),
        (TYPE_DISCARD, 0, (ranges((0, 1, 0), ((1 << 64) - 1, 1, 0)),), (), IO_ERROR),
        (TYPE_DISCARD, 0, (ranges((0, 1, 1)),), (), UNSUPPORTED),
        (TYPE_DISCARD, 0, (ranges(*[(0, 1, 0)] * 33),), (), IO_ERROR),
        (TYPE_DISCARD, 0, (b"short",), (), IO_ERROR),
        (TYPE_DISCARD, 0, (), (), IO_ERROR),
        (TYPE_WRITE_ZEROES, 0, (ranges((0, 0xFFFF_FFFF, 0)),), (), IO_ERROR),
        (TYPE_WRITE_ZEROES, 0, (ranges((0, 1, 2)),), (), UNSUPPORTED),
        (99, 0, (), (512,), UNSUPPORTED),
    ],
)
def test_refuses_what_it_cannot_do(
    disk: Disk, kind: int, sector: int, data: tuple[bytes, ...], room: tuple[int, ...], status: bytes
) -> None:
    head = disk.driver.rings[0].add([header(kind, sector), *data], [*room, 1])
    _, buffers = disk.driver.rings[0].taken[head]
    disk.driver.notify(0)
    assert disk.driver.memory.read(*buffers[-1]) == status
    assert disk.driver.rings[0].take_used() == [(head, b"" if room else status)]
    assert not disk.block.calls
    assert not disk.driver.faults


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("short read"), "short read"),
        (OutOfSpaceError("disk", "it is full"), "disk: it is full"),
    ],
)
def test_a_failure_of_the_host_is_an_io_error_of_the_guest_and_is_told(disk: Disk, failure: Exception, words: str) -> None:
    disk.block.failure = failure
    for kind, data, room in ((TYPE_IN, (), (512,)), (TYPE_OUT, (bytes(512),), ()), (TYPE_FLUSH, (), ())):
        head = disk.driver.rings[0].add([header(kind), *data], [*room, 1])
        _, buffers = disk.driver.rings[0].taken[head]
        disk.driver.notify(0)
        assert disk.driver.memory.read(*buffers[-1]) == IO_ERROR
        disk.driver.rings[0].take_used()
    assert disk.errors == [words] * 3


@pytest.mark.parametrize(("readable", "writable"), [([b"short"], [1]), ([header(0)], []), ([], [20]), ([], [])])
def test_a_chain_without_header_or_status_fails_the_device(disk: Disk, readable: list[bytes], writable: list[int]) -> None:
    disk.driver.rings[0].add(readable or [b""], writable)
    disk.driver.notify(0)
    assert disk.driver.read(STATUS) & NEEDS_RESET
    assert not disk.block.calls


@pytest.mark.parametrize("kind", [TYPE_IN, TYPE_OUT])
def test_data_outside_ram_fails_the_device_not_the_host(disk: Disk, kind: int) -> None:
    ring = disk.driver.rings[0]
    front, status = ring.put(header(kind)), ring.put(b"\xff")
    ring.descriptor(0, front, 16, 1, 1)
    ring.descriptor(1, 0x1000, 512, 1 | (2 if kind == TYPE_IN else 0), 2)
    ring.descriptor(2, status, 1, 2, 0)
    ring.publish(0)
    disk.driver.notify(0)
    assert disk.driver.read(STATUS) & NEEDS_RESET
    assert disk.block.content == bytes(SECTORS * 512)


def test_several_faults_of_one_request_are_one_failure(disk: Disk) -> None:
    ring = disk.driver.rings[0]
    ring.descriptor(0, ring.put(header(TYPE_IN)), 16, 1, 1)
    ring.descriptor(1, 0x1000, 513, 2, 0)
    ring.publish(0)
    disk.driver.notify(0)
    assert len(disk.driver.faults) == 1
    assert disk.driver.irq.rises == 1


def test_one_interrupt_for_a_batch(disk: Disk) -> None:
    for sector in range(4):
        disk.driver.rings[0].add([header(TYPE_IN, sector)], [512, 1])
    disk.driver.notify(0)
    assert len(disk.driver.rings[0].take_used()) == 4
    assert disk.driver.irq.rises == 1


class Queue:
    """A worker whose jobs the test runs."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        self.jobs.pop(0)()


def test_long_requests_and_those_behind_them_leave_the_vcpu() -> None:
    later = Queue()
    disk = Disk(later)
    assert disk.request(TYPE_IN, room=(512,)) == bytes(512) + OK
    ring = disk.driver.rings[0]
    ring.add([header(TYPE_FLUSH)], [1])
    ring.add([header(TYPE_IN, 1)], [512, 1])
    disk.driver.acknowledge()
    disk.driver.notify(0)
    assert (ring.take_used(), len(later.jobs), disk.driver.irq.level) == ([], 2, False)
    later.run()
    assert [content for _, content in ring.take_used()] == [OK]
    assert disk.driver.irq.level
    later.run()
    assert [content for _, content in ring.take_used()] == [bytes(512) + OK]
    assert disk.request(TYPE_IN, room=(512,)) == bytes(512) + OK, "the disk is free again"


def test_a_large_transfer_is_long_and_moves_in_pieces() -> None:
    later = Queue()
    block = MemoryBlock(4 << 20)
    block.content[:] = bytes(range(256)) * (len(block.content) // 256)
    driver = Driver(VirtioBlock(block, later), FakeMemory(16 << 20)).start()
    ring = driver.rings[0]
    ring.add([header(TYPE_IN)], [INLINE, INLINE + 512, 1])
    driver.notify(0)
    later.run()
    ((_, content),) = ring.take_used()
    assert content == bytes(block.content[: 2 * INLINE + 512]) + OK
    assert [length for _, _, length in block.calls] == [INLINE, INLINE, 512]
    ring.add([header(TYPE_OUT, 1), content[1 : INLINE + 1], content[1:1025]], [1])
    driver.notify(0)
    later.run()
    assert [content for _, content in ring.take_used()] == [OK]
    assert block.content[512 : 512 + INLINE] == content[1 : INLINE + 1]


def test_a_reset_forgets_requests_that_are_with_the_worker() -> None:
    later = Queue()
    disk = Disk(later)
    disk.driver.rings[0].add([header(TYPE_OUT, 3), b"a" * 512], [1])
    disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
    disk.driver.rings[0].add([header(TYPE_OUT, 4), b"b" * 512], [1])
    disk.driver.notify(0)
    disk.driver.start()
    before = bytes(disk.driver.memory.content)
    while later.jobs:
        later.run()
    assert bytes(disk.driver.memory.content) == before
    assert not disk.driver.irq.level
    assert b"b" not in disk.block.content, "memory is no longer the driver's: nothing is read from it"
    assert disk.request(TYPE_IN, room=(512,))[-1:] == OK


def test_a_device_that_failed_takes_no_answer() -> None:
    later = Queue()
    disk = Disk(later)
    disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
    disk.driver.rings[0].add([b"nonsense"], [1])
    disk.driver.notify(0)
    assert disk.driver.read(STATUS) & NEEDS_RESET
    later.run()
    assert disk.driver.rings[0].take_used() == []
    disk.driver.start()
    assert disk.request(TYPE_IN, room=(512,))[-1:] == OK


def test_a_buffer_in_flight_twice_fails_the_device() -> None:
    disk = Disk(Queue())
    head = disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
    disk.driver.rings[0].publish(head)
    disk.driver.notify(0)
    assert disk.driver.faults == [f"descriptor {head} is in flight already"]


def test_a_saved_disk_serves_again_what_it_had_not_answered() -> None:
    later = Queue()
    disk = Disk(later)
    disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
    disk.driver.rings[0].add([header(TYPE_OUT, 2), b"w" * 512], [1])
    disk.driver.notify(0)
    state = disk.driver.transport.save()
    assert state["device"]["in_flight"] == [[0, 0], [0, 2]]
    block, again = MemoryBlock(SECTORS * 512), Queue()
    twin = Driver(VirtioBlock(block, again), disk.driver.memory)
    twin.transport.load(state)
    assert twin.transport.save() == state
    while again.jobs:
        again.run()
    assert [content for _, content in disk.driver.rings[0].take_used()] == [OK, OK]
    assert block.content[1024:1536] == b"w" * 512
    assert twin.irq.level


def test_works_with_a_real_worker_and_its_callers_lock() -> None:
    worker = Worker("disk")
    disk = Disk(worker)
    done = threading.Event()
    raised = disk.driver.irq.set
    disk.driver.irq.set = lambda level: (raised(level), level and done.set())  # type: ignore[assignment, func-returns-value, method-assign]
    with disk.driver.transport.lock:
        disk.driver.rings[0].add([header(TYPE_OUT, 9), b"z" * 512], [1])
        disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
        disk.driver.notify(0)
    assert done.wait(10)
    worker.close()
    assert [content for _, content in disk.driver.rings[0].take_used()] == [OK, OK]
    assert disk.block.calls[-1] == ("flush", 0, 0)


def test_one_queue_is_no_feature_and_several_are() -> None:
    assert not Disk().device.features & MULTI_QUEUE
    disk = Disk(queues=3)
    assert disk.driver.offered() & MULTI_QUEUE
    assert disk.driver.read(CONFIG + 34, 2) == 3
    for count in (0, MOST_QUEUES + 1):
        with pytest.raises(ValueError, match="queues"):
            VirtioBlock(MemoryBlock(), queues=count)


def test_each_queue_has_its_answers() -> None:
    disk = Disk(queues=3)
    disk.block.content[:1024] = b"a" * 512 + b"b" * 512
    for queue, expected in ((2, b"a"), (0, b"b"), (1, b"a")):
        sector = int(expected == b"b")
        assert disk.driver.request(queue, [header(TYPE_IN, sector)], [512, 1]) == expected * 512 + OK


def test_queues_wait_in_one_line_and_come_back() -> None:
    jobs: list[Callable[[], None]] = []
    disk = Disk(jobs.append, queues=2)
    for queue in (1, 0):
        disk.driver.rings[queue].add([header(TYPE_FLUSH)], [1])
        disk.driver.notify(queue)
    state = disk.driver.transport.save()
    assert state["device"]["in_flight"] == [[0, 0], [1, 0]]
    fresh = Driver(VirtioBlock(disk.block, queues=2), disk.driver.memory)
    fresh.transport.load(state)
    assert [ring.take_used() for ring in disk.driver.rings] == [[(0, OK)], [(0, OK)]]
    while jobs:
        jobs.pop(0)()


def test_a_state_from_before_there_were_queues_is_loaded() -> None:
    jobs: list[Callable[[], None]] = []
    disk = Disk(jobs.append)
    disk.driver.rings[0].add([header(TYPE_FLUSH)], [1])
    disk.driver.notify(0)
    state = disk.driver.transport.save()
    state["device"] = {"version": 1, "in_flight": [0]}
    fresh = Driver(VirtioBlock(disk.block), disk.driver.memory)
    fresh.transport.load(state)
    assert disk.driver.rings[0].take_used() == [(0, OK)]
