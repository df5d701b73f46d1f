"""Split virtqueues: chains as drivers lay them out, and chains no driver may lay out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.protocols import GuestMemoryFault
from gasang.devices.virtio.queue import MAX_CHAIN, QueueError, Virtqueue, gather, pieces, scatter, split
from support.board_parts import RAM_BASE, FakeMemory
from support.virtio_driver import INDIRECT, NEXT, WRITE, Ring

SIZE = 8


class Pair:
    """A queue and the driver's side of it."""

    def __init__(self, size: int = SIZE, event_index: bool = False) -> None:
        self.memory = FakeMemory()
        self.ring = Ring(self.memory, RAM_BASE, size)
        self.queue = Virtqueue(self.memory, size)
        self.queue.descriptor_area, self.queue.driver_area, self.queue.device_area = (
            self.ring.descriptors,
            self.ring.available,
            self.ring.used,
        )
        self.queue.event_index = event_index
        self.queue.enable()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_walks_a_chain(pair: Pair) -> None:
    head = pair.ring.add([b"head", b"body"], [10, 1])
    chain = pair.queue.pop()
    assert chain is not None
    assert (chain.head, chain.readable_length(), chain.writable_length()) == (head, 8, 11)
    assert gather(pair.memory, chain.readable) == b"headbody"
    assert pair.queue.pop() is None


def test_returns_buffers(pair: Pair) -> None:
    heads = [pair.ring.add(writable=[4]) for _ in range(3)]
    for number, head in enumerate(heads):
        chain = pair.queue.pop()
        assert chain is not None
        assert chain.head == head
        pair.queue.push(chain, scatter(pair.memory, chain.writable, bytes([number] * number)))
    assert pair.ring.take_used() == [(heads[0], b""), (heads[1], b"\1"), (heads[2], b"\2\2")]


def test_walks_an_indirect_table(pair: Pair) -> None:
    pair.ring.add([b"abc", b"def"], [5], indirect=True)
    chain = pair.queue.pop()
    assert chain is not None
    assert (gather(pair.memory, chain.readable), chain.writable_length()) == (b"abcdef", 5)


def test_walks_direct_descriptors_followed_by_an_indirect_one(pair: Pair) -> None:
    text = pair.ring.put(b"direct")
    table = pair.ring.put(struct.pack("<QIHH", text, 3, WRITE, 0))
    pair.ring.descriptor(0, text, 6, NEXT, 1)
    pair.ring.descriptor(1, table, 16, INDIRECT | WRITE, 0)
    pair.ring.publish(0)
    chain = pair.queue.pop()
    assert chain is not None
    assert (chain.readable, chain.writable) == ([(text, 6)], [(text, 3)])


def test_goes_round_and_round(pair: Pair) -> None:
    pair.ring.next_available = pair.ring.next_used = 0xFFFA
    pair.queue.load([*pair.queue.save()[:5], 0xFFFA, 0xFFFA, 0xFFFA, 1])
    pair.memory.write(pair.ring.used + 2, struct.pack("<H", 0xFFFA))
    for number in range(20):
        pair.ring.add([bytes([number])], [1])
        chain = pair.queue.pop()
        assert chain is not None
        pair.queue.push(chain, scatter(pair.memory, chain.writable, gather(pair.memory, chain.readable)))
        assert [content for _, content in pair.ring.take_used()] == [bytes([number])]


def test_empty_segments_are_skipped(pair: Pair) -> None:
    pair.ring.add([b"", b"x", b""], [0])
    chain = pair.queue.pop()
    assert chain is not None
    assert (len(chain.readable), chain.writable) == (1, [])


HOSTILE = {
    "a loop": [(0, 4, NEXT, 1), (0, 4, NEXT, 0)],
    "a loop onto itself": [(0, 4, NEXT, 0)],
    "an index outside the table": [(0, 4, NEXT, SIZE)],
    "a segment to read behind one to fill": [(0, 4, NEXT | WRITE, 1), (0, 4, 0, 0)],
    "indirect with a successor": [(0, 16, INDIRECT | NEXT, 1), (0, 4, 0, 0)],
    "an empty indirect table": [(0, 0, INDIRECT, 0)],
    "half an indirect descriptor": [(0, 24, INDIRECT, 0)],
    "an enormous indirect table": [(0, 16 * (MAX_CHAIN + 1), INDIRECT, 0)],
    "more than 4 GiB": [(0, 0xFFFF_FFFF, NEXT, 1), (0, 1, 0, 0)],
}


@pytest.mark.parametrize("descriptors", HOSTILE.values(), ids=HOSTILE)
def test_refuses_a_chain_that_breaks_the_rules(pair: Pair, descriptors: list[tuple[int, int, int, int]]) -> None:
    for index, (address, length, flags, following) in enumerate(descriptors):
        pair.ring.descriptor(index, RAM_BASE + address, length, flags, following)
    pair.ring.publish(0)
    with pytest.raises(QueueError):
        pair.queue.pop()


def test_refuses_an_indirect_table_in_an_indirect_table_and_one_that_loops(pair: Pair) -> None:
    inner = pair.ring.put(struct.pack("<QIHH", RAM_BASE, 16, INDIRECT, 0))
    looping = pair.ring.put(struct.pack("<QIHH", RAM_BASE, 16, NEXT, 0))
    for number, table in enumerate((inner, looping)):
        pair.ring.descriptor(number, table, 16, INDIRECT, 0)
        pair.ring.publish(number)
        with pytest.raises(QueueError):
            pair.queue.pop()


def test_refuses_a_head_outside_the_table_and_more_buffers_than_the_queue_holds(pair: Pair) -> None:
    pair.ring.publish(SIZE)
    with pytest.raises(QueueError, match="descriptor 8"):
        pair.queue.pop()
    pair.memory.write(pair.ring.available + 2, struct.pack("<H", SIZE + 2))
    with pytest.raises(QueueError, match="9 buffers"):
        pair.queue.pop()


@pytest.mark.parametrize("address", [0, RAM_BASE - 16, RAM_BASE + (1 << 20) - 8, (1 << 64) - 16])
def test_an_indirect_table_outside_ram_faults(pair: Pair, address: int) -> None:
    pair.ring.descriptor(0, address, 16, INDIRECT, 0)
    pair.ring.publish(0)
    with pytest.raises(GuestMemoryFault):
        pair.queue.pop()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", 3),
        ("size", 16),
        ("size", 1 << 31),
        ("descriptor_area", RAM_BASE + 8),
        ("driver_area", RAM_BASE + 1),
        ("device_area", RAM_BASE + 2),
    ],
)
def test_refuses_rings_that_break_the_rules(pair: Pair, field: str, value: int) -> None:
    pair.queue.disable()
    setattr(pair.queue, field, value)
    with pytest.raises(QueueError):
        pair.queue.enable()
    assert not pair.queue.ready


@pytest.mark.parametrize("field", ["descriptor_area", "driver_area", "device_area"])
@pytest.mark.parametrize("address", [0, RAM_BASE + (1 << 20) - 16, (1 << 64) - 16])
def test_refuses_rings_outside_ram(pair: Pair, field: str, address: int) -> None:
    pair.queue.disable()
    setattr(pair.queue, field, address)
    with pytest.raises(GuestMemoryFault):
        pair.queue.enable()
    assert not pair.queue.ready


def test_lets_go_of_guest_memory_when_disabled(pair: Pair) -> None:
    with pytest.raises(BufferError):
        pair.memory.content.clear()
    pair.queue.disable()
    pair.memory.content.clear()
    assert pair.queue.pop() is None


def test_interrupts_unless_told_not_to(pair: Pair) -> None:
    for flags, wanted in ((0, True), (1, False)):
        pair.ring.set_flags(flags)
        pair.ring.add(writable=[1])
        chain = pair.queue.pop()
        assert chain is not None
        pair.queue.push(chain, 0)
        assert pair.queue.wants_interrupt() is wanted
        assert pair.queue.wants_interrupt() is False, "nothing new was pushed"


@given(st.integers(0, 0xFFFF), st.integers(1, SIZE), st.integers(-20, 20))
def test_event_index_interrupts_exactly_when_the_event_is_passed(start: int, count: int, distance: int) -> None:
    pair = Pair(event_index=True)
    pair.queue.load([*pair.queue.save()[:5], start, start, start, 1])
    pair.ring.next_available = pair.ring.next_used = start
    pair.ring.set_used_event(start + distance)
    for _ in range(count):
        pair.ring.add(writable=[1])
        chain = pair.queue.pop()
        assert chain is not None
        pair.queue.push(chain, 0)
    assert pair.queue.wants_interrupt() is (0 <= distance < count)


def test_event_index_asks_to_be_notified_of_the_next_buffer_when_it_found_none() -> None:
    pair = Pair(event_index=True)
    for number in range(3):
        assert pair.queue.pop() is None
        assert pair.ring.available_event() == number
        pair.ring.add(writable=[1])
        assert pair.queue.pop() is not None
    assert pair.ring.available_event() == 2, "while buffers come the driver is not asked to notify"


def test_event_index_finds_a_buffer_that_came_while_it_asked() -> None:
    class Racing(FakeMemory):
        def write(self, address: int, data: bytes | memoryview) -> None:
            super().write(address, data)
            if armed and address == pair.ring.used + 4 + 8 * SIZE:
                armed.clear()
                pair.ring.add(writable=[1])

    armed: list[bool] = []
    pair = Pair(event_index=True)
    memory = Racing()
    pair.ring.memory = pair.queue._memory = memory
    pair.queue.disable()
    pair.queue.enable()
    armed.append(True)
    assert pair.queue.pop() is not None


SEGMENTS = st.lists(st.integers(1, 50), max_size=8)


def laid_out(lengths: list[int]) -> list[tuple[int, int]]:
    """Segments of these lengths with a gap behind each."""
    segments, address = [], RAM_BASE
    for length in lengths:
        segments.append((address, length))
        address += length + 3
    return segments


@given(SEGMENTS, st.integers(0, 400))
def test_split_cuts_where_told(lengths: list[int], at: int) -> None:
    segments = laid_out(lengths)
    addresses = [address + offset for address, length in segments for offset in range(length)]
    before, behind = split(segments, at)
    assert [a + o for a, length in before for o in range(length)] == addresses[:at]
    assert [a + o for a, length in behind for o in range(length)] == addresses[at:]
    assert all(length for _, length in before + behind)


@given(SEGMENTS, st.integers(1, 100))
def test_pieces_are_full_but_the_last(lengths: list[int], largest: int) -> None:
    groups = list(pieces(laid_out(lengths), largest))
    sizes = [sum(length for _, length in group) for group in groups]
    assert sum(sizes) == sum(lengths)
    assert all(size == largest for size in sizes[:-1])
    assert all(0 < size <= largest for size in sizes)


@given(SEGMENTS, st.binary(max_size=300))
def test_scatter_and_gather_are_inverse(lengths: list[int], data: bytes) -> None:
    memory, segments = FakeMemory(), laid_out(lengths)
    count = scatter(memory, segments, data)
    assert count == min(len(data), sum(lengths))
    assert gather(memory, segments)[:count] == data[:count]
    assert not any(gather(memory, segments)[count:])
