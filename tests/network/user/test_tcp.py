"""Two ends of a connection over a cable that loses, repeats and delays: what one says arrives at the other, whole and in order."""

from __future__ import annotations

import heapq
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.network.user.tcp import segment as wire
from gasang.network.user.tcp.connection import WINDOW, Connection, Ends, Phase
from gasang.network.user.tcp.segment import ACK, FIN, RST, SYN, WRAP, Segment

MSS = 1460


class End:
    """A connection, what it is to send, and what has come to it."""

    def __init__(self, world: World, name: int, data: bytes, largest: int) -> None:
        self.sent: list[Segment] = []
        self.got = bytearray()
        self.data = memoryview(data)
        self.finished = False
        self.slow = False
        self.connection = Connection(Ends(name, 1 - name, MSS), world.chance.getrandbits(32), self.emit, lambda: largest)
        self._world = world
        self._name = name

    def emit(self, segment: Segment, options: bytes) -> None:
        data = wire.header(segment, options) + bytes(segment.payload)
        read = wire.read(data)
        assert read is not None
        self.sent.append(read)
        self._world.carry(1 - self._name, read)

    def work(self, now: float) -> None:
        """Send what there is room for, and the end."""
        connection = self.connection
        if connection.phase is Phase.OPEN and self.data and (room := connection.room):
            connection.send(bytes(self.data[:room]), now)
            self.data = self.data[room:]
        if connection.phase is Phase.OPEN and not self.data and not self.finished:
            self.finished = True
            connection.finish(now)


class World:
    """Both ends and the cable between them."""

    def __init__(self, seed: int, trouble: float, one: bytes, other: bytes, largest: int = 0) -> None:
        self.chance = random.Random(seed)
        self.trouble = trouble
        self.now = 0.0
        self.flying: list[tuple[float, int, int, Segment]] = []
        self.count = 0
        self.ends = End(self, 0, one, largest), End(self, 1, other, largest)

    def carry(self, to: int, segment: Segment) -> None:
        copies = 0 if self.chance.random() < self.trouble else 2 if self.chance.random() < self.trouble else 1
        for _ in range(copies):
            late = self.chance.random() * 0.2 if self.chance.random() < self.trouble else 0.0
            self.count += 1
            heapq.heappush(self.flying, (self.now + 0.001 + late, self.count, to, segment))

    def arrive(self, to: int, segment: Segment) -> None:
        end = self.ends[to]
        if end.connection.phase is Phase.CALLING and segment.flags & (SYN | ACK) == SYN:
            end.connection.answer(segment, self.now)
            return
        for data in end.connection.receive(segment, self.now):
            end.got += data

    def run(self, until: float = 4000.0) -> None:
        """As long as there is something to happen."""
        while self.now < until:
            for end in self.ends:
                end.work(self.now)
                end.connection.flush()
            times = [self.flying[0][0]] if self.flying else []
            times += [end.connection.deadline for end in self.ends if end.connection.deadline is not None]
            if not times:
                return
            self.now = max(self.now, min(times))
            while self.flying and self.flying[0][0] <= self.now:
                _, _, to, segment = heapq.heappop(self.flying)
                self.arrive(to, segment)
            for end in self.ends:
                if end.connection.deadline is not None and end.connection.deadline <= self.now:
                    end.connection.expire(self.now)
        raise AssertionError("it never ends")


def met(world: World) -> World:
    world.ends[0].connection.call(0.0)
    world.run()
    return world


def stuff(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1 << 32), st.sampled_from([0.0, 0.02, 0.1, 0.2]), st.integers(0, 200_000), st.integers(0, 20_000),
    st.sampled_from([0, 65000]),
)  # fmt: skip
def test_everything_arrives_once_and_in_order(seed: int, trouble: float, one: int, other: int, largest: int) -> None:
    world = met(World(seed, trouble, stuff(one), stuff(other), largest))
    connections = [end.connection for end in world.ends]
    if all(each.was_reset or each.phase is Phase.CALLING for each in connections):
        assert trouble > 0.05
        assert not any(end.got for end in world.ends)
        return
    # One of them may not hear the last word; all that was to be said has been said then.
    assert any(each.phase is Phase.GONE and not each.was_reset for each in connections)
    assert world.ends[1].got == stuff(one)
    assert world.ends[0].got == stuff(other)


def test_a_clean_cable_is_used_well() -> None:
    world = met(World(1, 0.0, stuff(3_000_000), b""))
    assert world.now < 1.0 + 2.0  # two seconds are the lingering
    numbers = [segment.sequence for segment in world.ends[0].sent if segment.payload]
    assert len(numbers) == len(set(numbers))
    assert max(len(segment.payload) for segment in world.ends[0].sent) == MSS


def test_joined_segments_are_large() -> None:
    world = met(World(1, 0.0, stuff(3_000_000), b"", largest=65000))
    sizes = [len(segment.payload) for segment in world.ends[0].sent]
    assert max(sizes) == 65000 // MSS * MSS
    assert len(sizes) < 300


def test_one_loss_costs_no_timeout() -> None:
    world = World(1, 0.0, stuff(400_000), b"")
    carry, count = world.carry, 0

    def lose(to: int, segment: Segment) -> None:
        nonlocal count
        count += bool(segment.payload)
        if count != 60:
            carry(to, segment)
        else:
            count += 1

    world.carry = lose  # type: ignore[method-assign]
    met(world)
    assert world.ends[1].got == stuff(400_000)
    assert world.now < 2.0 + 0.15
    assert any(segment.sacks for segment in world.ends[1].sent)


def test_a_slow_receiver_holds_the_sender_back_and_lets_it_go_on() -> None:
    world = World(1, 0.0, stuff(1_000_000), b"")
    receiver = world.ends[1].connection
    receiver.held = WINDOW
    world.ends[0].connection.call(0.0)
    arrived = 0

    def flush(end: Connection) -> None:
        nonlocal arrived
        end.held = WINDOW if world.now < 30 else 0

    original = receiver.flush
    receiver.flush = lambda: (flush(receiver), original())[1]  # type: ignore[func-returns-value, method-assign]
    world.run()
    assert world.ends[1].got == stuff(1_000_000)
    before = [segment for segment in world.ends[0].sent if segment.payload]
    assert sum(len(segment.payload) for segment in before) < 1_000_000 + WINDOW


def opened() -> tuple[Connection, list[Segment], Segment]:
    """A connection that a guest has called, what it sent, and the guest's next segment."""
    sent: list[Segment] = []
    connection = Connection(Ends(80, 1000, MSS), WRAP - 5, lambda segment, options: sent.append(segment), lambda: 0)
    connection.answer(Segment(1000, 80, WRAP, 0, SYN, 1000, mss=1000, scale=7, takes_sacks=True), 0.0)
    (answer,) = sent
    assert answer.flags == SYN | ACK
    assert answer.acknowledgement == 0
    sent.clear()
    following = Segment(1000, 80, 0, (WRAP - 5 + 1) & WRAP, ACK, 100)
    assert connection.receive(following, 0.0) == []
    assert connection.phase is Phase.OPEN
    return connection, sent, following


def test_the_guests_segment_size_and_window_are_kept() -> None:
    connection, sent, _ = opened()
    connection.send(bytes(100_000), 0.0)
    assert {len(segment.payload) for segment in sent} == {1000}
    assert sum(len(segment.payload) for segment in sent) == 10_000  # the first congestion window; the window is 100 << 7


def test_numbers_wrap() -> None:
    connection, sent, following = opened()
    connection.send(b"0123456789", 0.0)
    assert sent[0].sequence == WRAP - 4
    connection.receive(replace(following, acknowledgement=5), 0.1)
    assert connection.room == WINDOW


@pytest.mark.parametrize(("ahead", "ends"), [(0, True), (1, False), (WINDOW + 1, False), (-1, False)])
def test_only_a_reset_at_the_right_place_is_one(ahead: int, ends: bool) -> None:
    connection, _sent, following = opened()
    connection.receive(replace(following, flags=RST, sequence=ahead & WRAP), 0.0)
    assert (connection.phase is Phase.GONE) == ends == connection.was_reset


def test_an_acknowledgement_of_what_was_never_sent_is_none() -> None:
    connection, sent, following = opened()
    assert connection.receive(replace(following, acknowledgement=(WRAP + 50_000) & WRAP, payload=b"x", flags=ACK), 0.0) == []
    connection.flush()
    assert sent[-1].flags == ACK
    assert sent[-1].acknowledgement == 0


def test_each_half_ends_by_itself() -> None:
    connection, sent, following = opened()
    assert connection.receive(replace(following, payload=b"last", flags=ACK | FIN), 0.0) == [b"last"]
    assert connection.guest_has_finished
    connection.send(b"still", 0.0)
    connection.finish(0.0)
    assert sent[-1].flags & FIN
    assert b"".join(bytes(segment.payload) for segment in sent) == b"still"
    connection.receive(replace(following, sequence=5, acknowledgement=1), 0.0)
    assert connection.phase is Phase.LINGERS


def test_a_closed_window_is_probed_and_patience_is_long_while_there_are_answers() -> None:
    connection, sent, following = opened()
    closed = replace(following, window=0)
    connection.receive(closed, 0.0)
    connection.send(b"abc", 0.0)
    assert sent == []
    now = 0.0
    for _ in range(30):
        deadline = connection.deadline
        assert deadline is not None
        assert now < deadline <= now + 60
        now = deadline
        connection.expire(now)
        assert bytes(sent[-1].payload) == b"a"
        connection.receive(closed, now)
    connection.receive(following, now)
    assert bytes(sent[-1].payload) == b"abc"
    assert connection.phase is Phase.OPEN


def test_who_is_silent_for_long_is_given_up() -> None:
    connection, sent, _ = opened()
    connection.send(b"abc", 0.0)
    for _ in range(100):
        if connection.deadline is None or connection.phase is Phase.GONE:
            break
        connection.expire(connection.deadline)
    assert connection.phase is Phase.GONE
    assert connection.was_reset
    assert sent[-1].flags & RST


def test_what_comes_out_of_order_takes_no_more_than_a_window() -> None:
    connection, _, following = opened()
    for start in range(1, 4000):
        connection.receive(replace(following, sequence=start, payload=bytes(60_000)), 0.0)
    late = connection._receiver._late
    assert sum(map(len, late.values())) <= WINDOW
    assert len(late) <= 64


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_segment_or_none(data: bytes) -> None:
    read = wire.read(data)
    assert read is None or (len(data) >= wire.HEADER and 0 <= read.scale + 1 <= 15)


near = st.integers(-70000, 70000).map(lambda number: number & WRAP)
blocks = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=4).map(tuple)
segments = st.builds(
    Segment, st.just(1000), st.just(80), near, near, st.integers(0, 63), st.integers(0, 65535), st.binary(max_size=50), sacks=blocks
)


@settings(max_examples=200, deadline=None)
@given(st.lists(segments, max_size=30), st.binary(max_size=5000))
def test_a_guest_may_send_what_it_likes(hostile: list[Segment], data: bytes) -> None:
    connection, _, _ = opened()
    now = 0.0
    connection.send(data, now)
    for segment in hostile:
        now += 0.1
        connection.receive(segment, now)
        if connection.deadline is not None and connection.deadline <= now:
            connection.expire(now)
        connection.flush()
    assert connection.phase in Phase
    assert connection.room <= WINDOW
