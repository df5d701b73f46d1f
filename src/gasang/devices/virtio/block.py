"""The virtio block device (virtio 1.2, section 5.2) over a core `Block`.

A request is short or long. Short ones (reads and writes up to `INLINE` bytes) are served where they are heard of, which may be
a vCPU's thread: the host's page cache answers faster than a thread wakes up. Long ones (flushes, discards, large transfers) go
to `later`, a worker thread, and while that has work everything follows it there. So the `Block` is never entered by two
threads at once, and no vCPU waits for a disk.

Guest memory is touched only under the bus lock and only while the request is still the guest's: a reset in the middle of a
long request lets the disk finish and forgets the rest.

While the worker has nothing to do, short reads and writes may be served by compiled code, which is told the disk's files (`work`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from gasang.core.direct import DirectBlock
from gasang.core.errors import GasangError
from gasang.core.protocols import Block, State
from gasang.devices.state import check_version
from gasang.devices.virtio.bell import DISK, Work
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import Chain, QueueError, Segment, gather, pieces, scatter, split

SECTOR = 512
QUEUE_SIZE = 256
SEGMENTS = QUEUE_SIZE - 2
"""Data segments of one request: header and status take two of a chain."""
MOST_QUEUES = 64
INLINE = 1 << 20
"""Bytes of the largest transfer served where it is heard of."""
PIECE = 1 << 20
"""Bytes moved at a time: what a request costs the host in memory, whatever its size."""

SEG_MAX, READ_ONLY, BLK_SIZE, FLUSH, MULTI_QUEUE, DISCARD, WRITE_ZEROES = 1 << 2, 1 << 5, 1 << 6, 1 << 9, 1 << 12, 1 << 13, 1 << 14
OK, IO_ERROR, UNSUPPORTED = 0, 1, 2
TYPE_IN, TYPE_OUT, TYPE_FLUSH, TYPE_GET_ID, TYPE_DISCARD, TYPE_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
LONG_TYPES = frozenset({TYPE_FLUSH, TYPE_DISCARD, TYPE_WRITE_ZEROES})

RANGES = 32
"""Ranges in one discard or write-zeroes request."""
DISCARD_SECTORS = 1 << 22
DISCARD_ALIGNMENT = 8
ZEROES_SECTORS = 1 << 16
UNMAP = 1

_HEADER = struct.Struct("<IIQ")
_RANGE = struct.Struct("<QII")
_CONFIG = struct.Struct("<QII4xI8xBxHIIIIIB3x")
_ZEROES = bytes(PIECE)

T = TypeVar("T")
Place = tuple[int, int]
"""Queue and descriptor head of a request."""
Later = Callable[[Callable[[], None]], None]
"""Has a job done on another thread, in order."""


@runtime_checkable
class ZeroingBlock(Protocol):
    """A disk that can make a range read as zeroes without storing them."""

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make the range read as zeroes; raise OSError if the host fails."""
        ...


class RequestError(Exception):
    """A request the disk refuses; `status` is what the driver reads."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Request:
    """A request as the driver wrote it; `era` counts the device's resets."""

    link: Link
    era: int
    queue: int
    chain: Chain
    kind: int
    sector: int
    outgoing: list[Segment]
    incoming: list[Segment]
    status_address: int
    incoming_length: int
    outgoing_length: int
    with_worker: bool = False
    written: int = 0


class VirtioBlock:
    """A disk. `serial` is what the guest reads as its id; `on_error` hears what failed on the host, in words that do not name the disk.

    What is short is done at once, unless the disk is `slow`, what is long by `later`, which does not hold up the guest's processors.
    With several `queues` (one a processor is best) the guest's processors need not wait for each other to ask; what they ask for is
    served in the order in which it is found.
    """

    device_id: int = 2

    def __init__(
        self,
        block: Block,
        later: Later | None = None,
        *,
        read_only: bool = False,
        serial: str = "",
        queues: int = 1,
        slow: bool = False,
        on_error: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        if not 1 <= queues <= MOST_QUEUES:
            raise ValueError(f"a disk has 1 to {MOST_QUEUES} queues")
        self.queue_sizes: Sequence[int] = (QUEUE_SIZE,) * queues
        self.features = SEG_MAX | BLK_SIZE | FLUSH | (READ_ONLY if read_only else DISCARD | WRITE_ZEROES)
        self.features |= MULTI_QUEUE if queues > 1 else 0
        self._block = block
        self._later = later
        self._slow = slow
        self._read_only = read_only
        self._serial = serial.encode("ascii", "replace")[:20]
        self._on_error = on_error
        self._sectors = block.size // SECTOR
        self._link: Link | None = None
        self._era = 0
        self._jobs = 0
        self._in_flight: dict[Place, Request] = {}
        self._unanswered: list[Place] = []

    @property
    def block(self) -> Block:
        """The disk behind it."""
        return self._block

    @property
    def read_only(self) -> bool:
        """Whether the guest cannot write to it."""
        return self._read_only

    def resized(self) -> None:
        """The disk behind it has another size now: the guest hears of it (5.2.4). From any thread."""
        self._sectors = self._block.size // SECTOR
        link = self._link
        if link is not None:
            with link.lock:
                link.serve(link.config_changed)

    def config(self) -> bytes:
        """The structure virtio_blk_config up to write_zeroes_may_unmap (5.2.4)."""
        ranges = 0 if self._read_only else RANGES
        return _CONFIG.pack(
            self._sectors, 0, SEGMENTS, SECTOR, 0, len(self.queue_sizes), DISCARD_SECTORS, ranges, DISCARD_ALIGNMENT, ZEROES_SECTORS,
            ranges, int(isinstance(self._block, ZeroingBlock)),
        )  # fmt: skip

    def start(self, link: Link) -> None:
        """Serve what a restored state left unanswered, and what is waiting already."""
        self._link = link
        places, self._unanswered = self._unanswered, []
        for index, head in places:
            self._take(index, link.queues[index].chain(head))
        for index in range(len(link.queues)):
            self.notify(index)

    def notify(self, index: int) -> None:
        """Serve every request that is available; one interrupt for all that are done."""
        link = self._link
        if link is None:
            return
        queue = link.queues[index]
        while (chain := queue.pop()) is not None:
            self._take(index, chain)
        link.used(queue)

    def work(self, index: int) -> Work | None:
        """Short reads and writes, where the disk is files and the worker has nothing to do with it."""
        direct = self._block.direct() if isinstance(self._block, DirectBlock) and not self._jobs and not self._in_flight else None
        if direct is None:
            return None
        writable = direct.writable and not self._read_only
        return Work(DISK, direct.files, self._sectors, direct.clusters, direct.top, writable, direct.may_own, direct.own)

    def reset(self) -> None:
        """Forget the guest's requests; what the worker has begun on the disk it finishes there."""
        self._link = None
        self._era += 1
        self._in_flight.clear()
        self._unanswered.clear()

    def save(self) -> State:
        """The requests not answered yet, as [queue, descriptor head]: whoever restores serves them again, which changes nothing."""
        return {"version": 2, "in_flight": [list(place) for place in sorted({*self._in_flight, *self._unanswered})]}

    def load(self, state: State) -> None:
        """Remember what was not answered when the state was saved."""
        version = check_version(state, "virtio-blk", 2)
        self._unanswered = [(0, place) if version == 1 else (place[0], place[1]) for place in state["in_flight"]]

    def _take(self, index: int, chain: Chain) -> None:
        """Serve a request now, or have it served later if it is long or the worker has the disk."""
        request = self._parse(index, chain)
        if self._later is None or not (self._slow or self._jobs or _is_long(request)):
            self._answer(request, self._perform(request))
            return
        if (index, chain.head) in self._in_flight:
            raise QueueError(f"descriptor {chain.head} is in flight already")
        request.with_worker = True
        self._jobs += 1
        self._in_flight[index, chain.head] = request
        self._later(partial(self._serve_later, request))

    def _parse(self, index: int, chain: Chain) -> Request:
        """Header in front, status byte behind (5.2.6); a chain without room for them is no request."""
        link = self._link
        length = chain.writable_length()
        if link is None or not length or chain.readable_length() < _HEADER.size:
            raise QueueError("a block request without header or status")
        header, outgoing = split(chain.readable, _HEADER.size)
        kind, _, sector = _HEADER.unpack(gather(link.memory, header))
        incoming, status = split(chain.writable, length - 1)
        outgoing_length = chain.readable_length() - _HEADER.size
        return Request(link, self._era, index, chain, kind, sector, outgoing, incoming, status[0][0], length - 1, outgoing_length)

    def _serve_later(self, request: Request) -> None:
        """On the worker's thread, which holds the bus lock only while it touches the guest."""
        status = self._perform(request)
        with request.link.lock:
            self._jobs -= 1
            if request.era == self._era:
                del self._in_flight[request.queue, request.chain.head]
                request.link.serve(partial(self._answer, request, status, tell=True))

    def _answer(self, request: Request, status: int, *, tell: bool = False) -> None:
        queue = request.link.queues[request.queue]
        request.link.memory.write(request.status_address, bytes((status,)))
        # The length counts from the first writable byte: the status belongs to it only if all before it was written (2.7.8).
        complete = request.written == request.incoming_length
        queue.push(request.chain, request.written + complete)
        if tell:
            request.link.used(queue)

    def _perform(self, request: Request) -> int:
        """Do what is asked; the status the driver gets."""
        operation = self._OPERATIONS.get(request.kind)
        if operation is None:
            return UNSUPPORTED
        try:
            operation(self, request)
        except RequestError as error:
            return error.status
        except (OSError, GasangError) as error:
            self._on_error(str(error.strerror or error) if isinstance(error, OSError) else str(error))
            return IO_ERROR
        return OK

    def _guest(self, request: Request, access: Callable[[], T]) -> T:
        """The result of an access to guest memory.

        On the worker's thread RequestError tells that the guest gave up the request or the access failed; elsewhere the
        transport hears of a fault by itself.
        """
        if not request.with_worker:
            return access()
        results: list[T] = []
        with request.link.lock:
            if request.era == self._era:
                request.link.serve(lambda: results.append(access()))
        if not results:
            raise RequestError(IO_ERROR)
        return results[0]

    # Operations, one function a request type.

    def _read(self, request: Request) -> None:
        offset = self._offset(request.sector, request.incoming_length)
        for group in pieces(request.incoming, PIECE):
            data = self._block.read(offset, min(PIECE, request.incoming_length - request.written))
            self._guest(request, partial(scatter, request.link.memory, group, data))
            request.written += len(data)
            offset += len(data)

    def _write(self, request: Request) -> None:
        self._check_writable()
        offset = self._offset(request.sector, request.outgoing_length)
        for group in pieces(request.outgoing, PIECE):
            data = self._guest(request, partial(gather, request.link.memory, group))
            self._block.write(offset, data)
            offset += len(data)

    def _flush(self, request: Request) -> None:
        self._block.flush()

    def _get_id(self, request: Request) -> None:
        serial = self._serial.ljust(20, b"\0")
        request.written = self._guest(request, partial(scatter, request.link.memory, request.incoming, serial))

    def _discard(self, request: Request) -> None:
        for offset, length, flags in self._ranges(request, DISCARD_SECTORS):
            if flags:
                raise RequestError(UNSUPPORTED)
            self._block.discard(offset, length)

    def _write_zeroes(self, request: Request) -> None:
        for offset, length, flags in self._ranges(request, ZEROES_SECTORS):
            if flags & ~UNMAP:
                raise RequestError(UNSUPPORTED)
            if isinstance(self._block, ZeroingBlock):
                self._block.write_zeroes(offset, length)
                continue
            for start in range(offset, offset + length, PIECE):
                self._block.write(start, memoryview(_ZEROES)[: min(PIECE, offset + length - start)])

    _OPERATIONS: ClassVar[Mapping[int, Callable[[VirtioBlock, Request], None]]] = {
        TYPE_IN: _read,
        TYPE_OUT: _write,
        TYPE_FLUSH: _flush,
        TYPE_GET_ID: _get_id,
        TYPE_DISCARD: _discard,
        TYPE_WRITE_ZEROES: _write_zeroes,
    }

    # Checks of what the guest asks for.

    def _check_writable(self) -> None:
        if self._read_only:
            raise RequestError(IO_ERROR)

    def _offset(self, sector: int, length: int) -> int:
        """The byte offset of whole sectors that all lie on the disk."""
        if length % SECTOR or sector + length // SECTOR > self._sectors:
            raise RequestError(IO_ERROR)
        return sector * SECTOR

    def _ranges(self, request: Request, most_sectors: int) -> list[tuple[int, int, int]]:
        """The (offset, length, flags) of a discard or write-zeroes request, all of them checked before the first is served."""
        self._check_writable()
        length = request.outgoing_length
        if not length or length % _RANGE.size or length > RANGES * _RANGE.size:
            raise RequestError(IO_ERROR)
        data = self._guest(request, partial(gather, request.link.memory, request.outgoing))
        ranges = list(_RANGE.iter_unpack(data))
        if any(sectors > most_sectors for _, sectors, _ in ranges):
            raise RequestError(IO_ERROR)
        return [(self._offset(sector, sectors * SECTOR), sectors * SECTOR, flags) for sector, sectors, flags in ranges]


def _is_long(request: Request) -> bool:
    return request.kind in LONG_TYPES or request.incoming_length > INLINE or request.outgoing_length > INLINE
