"""The virtio console device with several ports (virtio 1.2, section 5.3).

Port 0 is usually a console (`hvc0`); the others are named byte streams between host and guest. Each direction of a port
has its own back-pressure: `send` waits while a port holds `WAITING_LIMIT` bytes the guest has not taken, and `hold` leaves what the
guest sends in its own buffers until the host has room.

A port the host has closed is told to the guest only after everything sent before has reached its buffers: then the guest
reads to the end and meets end-of-file.

Locks: guest-side calls come with the bus lock held. `_guard` protects what the host's threads touch too; it is taken after
the bus lock, never before, and never held while a port's callbacks run.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from gasang.core.errors import NotFoundError
from gasang.core.protocols import CharacterSink, State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import QueueError, gather, pieces, scatter, split

SIZE, MULTIPORT = 1 << 0, 1 << 1
DEVICE_READY, DEVICE_ADD, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 5, 6, 7
CONTROL_RECEIVE, CONTROL_TRANSMIT = 2, 3

QUEUE_SIZE = 32
"""Linux fills each receive queue with pages at once: 128 KiB a port."""
WAITING_LIMIT = 1 << 20
"""Bytes from the host a port keeps for the guest."""
PIECE = 64 * 1024
"""Bytes moved at a time."""

_CONTROL = struct.Struct("<IHH")
_CONFIG = struct.Struct("<HHII")
_WINDOW = struct.Struct("<HH")


@dataclass(frozen=True)
class Port:
    """One port as the host sees it. Both callbacks run with the bus lock held and must be quick.

    `on_open` hears when a program in the guest opens (True) or closes the port.
    """

    name: str
    sink: CharacterSink
    on_open: Callable[[bool], None] = lambda is_open: None
    is_console: bool = False


@dataclass
class _Stream:
    """What is going on at one port."""

    number: int
    port: Port
    waiting: bytearray = field(default_factory=bytearray)
    host_open: bool = True
    host_open_told: bool = False
    guest_open: bool = False
    added: bool = False
    ready: bool = False
    held: bool = False

    @property
    def receive_queue(self) -> int:
        return 2 * self.number + 2 if self.number else 0


class VirtioConsole:
    """The device; ports are numbered in the order given."""

    device_id: int = 3
    features: int = SIZE | MULTIPORT

    def __init__(self, ports: Sequence[Port]) -> None:
        if not ports or len({port.name for port in ports}) < len(ports):
            raise ValueError("a console needs ports, each with a name of its own")
        self.queue_sizes: Sequence[int] = (QUEUE_SIZE,) * (2 * (len(ports) + 1))
        self._streams = [_Stream(number, port) for number, port in enumerate(ports)]
        self._by_name = {stream.port.name: stream for stream in self._streams}
        self._window = (0, 0)
        self._control: dict[tuple[int, int], bytes] = {}
        self._link: Link | None = None
        self._guard = threading.RLock()
        self._room = threading.Condition(self._guard)

    # The host's side; any thread.

    def send(self, name: str, data: bytes, timeout: float | None = None) -> int:
        """Give `data` to the guest through port `name`; return how many bytes were taken.

        Waits while the port is full, `timeout` seconds at most (None: as long as it takes, 0: not at all). Fewer bytes than given
        were taken if the time was up or the port was closed meanwhile. With the bus lock held only 0 is allowed.
        """
        stream = self._stream(name)
        deadline = None if timeout is None else time.monotonic() + timeout
        done = 0
        while done < len(data):
            with self._room:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._room.wait_for(lambda: len(stream.waiting) < WAITING_LIMIT or not stream.host_open, left)
                if len(stream.waiting) >= WAITING_LIMIT or not stream.host_open:
                    break
                part = data[done : done + WAITING_LIMIT - len(stream.waiting)]
                stream.waiting += part
                done += len(part)
            self._serve(partial(self._deliver, stream))
        return done

    def close(self, name: str) -> None:
        """No more input on port `name`: the guest reads what was sent, then end-of-file. Output goes on."""
        self._set_host_open(name, False)

    def open(self, name: str) -> None:
        """Connect a closed port again."""
        self._set_host_open(name, True)

    def hold(self, name: str, held: bool) -> None:
        """While held, what the guest sends on port `name` stays in the guest, whose writers wait."""
        stream = self._stream(name)
        with self._guard:
            stream.held = held
        if not held:
            self._serve(partial(self._collect, stream))

    def waiting(self, name: str) -> int:
        """Bytes sent to port `name` that the guest has given no buffer for yet."""
        with self._guard:
            return len(self._stream(name).waiting)

    def resize(self, columns: int, rows: int) -> None:
        """The console's window has a new size, in characters."""
        with self._guard:
            self._window = (columns, rows)
            link = self._link
        if link is not None:
            link.serve(link.config_changed)
            for stream in self._streams:
                if stream.port.is_console:
                    self._serve(partial(self._tell_window, stream))

    def renew(self) -> None:
        """In a forked process, whose only thread is the caller's: nobody holds the guard here. The bus lock was held in the fork."""
        self._guard = threading.RLock()
        self._room = threading.Condition(self._guard)

    # The device's side; the bus lock is held.

    def config(self) -> bytes:
        """The structure virtio_console_config (5.3.4)."""
        return _CONFIG.pack(*self._window, len(self._streams), 0)

    def start(self, link: Link) -> None:
        """Serve what is waiting already."""
        with self._guard:
            self._link = link
        for index in range(len(link.queues)):
            self.notify(index)

    def notify(self, index: int) -> None:
        """Buffers arrived: to be filled in even queues, to be read in odd ones."""
        if index == CONTROL_RECEIVE:
            self._deliver_control()
        elif index == CONTROL_TRANSMIT:
            self._collect_control()
        else:
            stream = self._streams[index // 2 - 1 if index > CONTROL_TRANSMIT else 0]
            if index & 1:
                self._collect(stream)
            else:
                self._deliver(stream)

    def reset(self) -> None:
        """The guest has closed everything; what the host sent waits for the next driver."""
        with self._guard:
            self._link = None
            self._control.clear()
            for stream in self._streams:
                stream.added = stream.ready = stream.host_open_told = False
        for stream in self._streams:
            self._set_guest_open(stream, False)

    def save(self) -> State:
        """What waits on the host's side, and how far each port's handshake got."""
        with self._guard:
            return {
                "version": 1,
                "window": list(self._window),
                "control": list(self._control.values()),
                "ports": [
                    {
                        "waiting": bytes(stream.waiting),
                        "flags": [stream.host_open, stream.host_open_told, stream.guest_open, stream.added, stream.ready],
                    }
                    for stream in self._streams
                ],
            }

    def load(self, state: State) -> None:
        """Become the saved console of the same ports; open ports report so again."""
        check_version(state, "virtio-console", 1)
        opened = []
        with self._guard:
            columns, rows = state["window"]
            self._window = (columns, rows)
            self._control = {_CONTROL.unpack_from(message)[:2]: message for message in state["control"]}
            for stream, saved in zip(self._streams, state["ports"], strict=True):
                stream.waiting = bytearray(saved["waiting"])
                stream.host_open, stream.host_open_told, guest_open, stream.added, stream.ready = map(bool, saved["flags"])
                opened.append((stream, guest_open))
        for stream, guest_open in opened:
            self._set_guest_open(stream, guest_open)

    # Data.

    def _deliver(self, stream: _Stream) -> None:
        """Move what waits at a port into the guest's buffers, if anybody in the guest has it open."""
        link = self._link
        if link is None:
            return
        queue = link.queues[stream.receive_queue]
        with self._guard:
            listening = stream.guest_open or not self._multiport(link)
            while listening and stream.waiting and (chain := queue.pop()) is not None:
                data = bytes(stream.waiting[: min(chain.writable_length(), PIECE)])
                if not data:
                    raise QueueError("a receive buffer without room")
                scatter(link.memory, chain.writable, data)
                del stream.waiting[: len(data)]
                queue.push(chain, len(data))
            if len(stream.waiting) < WAITING_LIMIT:
                self._room.notify_all()
            self._tell_host_open(stream)
        link.used(queue)

    def _collect(self, stream: _Stream) -> None:
        """Pass on what the guest sent on a port."""
        link = self._link
        if link is None:
            return
        queue = link.queues[stream.receive_queue + 1]
        while not stream.held and (chain := queue.pop()) is not None:
            for group in pieces(chain.readable, PIECE):
                stream.port.sink(gather(link.memory, group))
            queue.push(chain, 0)
        link.used(queue)

    # Control messages.

    def _deliver_control(self) -> None:
        """Move control messages into the guest's buffers, each into one."""
        link = self._link
        if link is None:
            return
        queue = link.queues[CONTROL_RECEIVE]
        with self._guard:
            while self._control and (chain := queue.pop()) is not None:
                message = self._control.pop(next(iter(self._control)))
                if scatter(link.memory, chain.writable, message) < len(message):
                    raise QueueError("a control buffer without room for a message")
                queue.push(chain, len(message))
        link.used(queue)

    def _collect_control(self) -> None:
        """Take the guest's control messages; what is no message of ours is ignored, as the specification's drivers expect."""
        link = self._link
        if link is None:
            return
        queue = link.queues[CONTROL_TRANSMIT]
        while (chain := queue.pop()) is not None:
            message, _ = split(chain.readable, _CONTROL.size)
            data = gather(link.memory, message)
            queue.push(chain, 0)
            if len(data) == _CONTROL.size:
                self._take_control(*_CONTROL.unpack(data))
        link.used(queue)

    def _take_control(self, number: int, event: int, value: int) -> None:
        if event == DEVICE_READY:
            if value:
                self._add_ports()
        elif number < len(self._streams):
            stream = self._streams[number]
            if event == PORT_READY and value:
                self._port_ready(stream)
            elif event == PORT_OPEN:
                self._set_guest_open(stream, bool(value))
                self._deliver(stream)

    def _add_ports(self) -> None:
        for stream in self._streams:
            if not stream.added:
                stream.added = True
                self._tell(stream, DEVICE_ADD, 0)

    def _port_ready(self, stream: _Stream) -> None:
        if not stream.added or stream.ready:
            return
        stream.ready = True
        if stream.port.is_console:
            self._tell(stream, CONSOLE_PORT, 1)
            self._tell_window(stream)
        else:
            self._tell(stream, PORT_NAME, 1, stream.port.name.encode("utf-8"))
        if stream.host_open or stream.waiting:
            stream.host_open_told = True
            self._tell(stream, PORT_OPEN, 1)

    def _tell_window(self, stream: _Stream) -> None:
        if stream.ready and any(self._window):
            # Columns first, as section 5.3.6.2 has it. Linux reads them so since 2025 (Debian 13 does);
            # older Linux and FreeBSD take them the other way round.
            self._tell(stream, RESIZE, 0, _WINDOW.pack(*self._window))

    def _tell_host_open(self, stream: _Stream) -> None:
        """Have the guest know whether the host's end is open; closing waits until all input is delivered."""
        if stream.ready and stream.host_open != stream.host_open_told and (stream.host_open or not stream.waiting):
            stream.host_open_told = stream.host_open
            self._tell(stream, PORT_OPEN, int(stream.host_open))

    def _tell(self, stream: _Stream, event: int, value: int, payload: bytes = b"") -> None:
        """Queue a control message. One the guest has not taken yet is replaced, so that no guest makes the queue grow."""
        with self._guard:
            self._control.pop((stream.number, event), None)
            self._control[stream.number, event] = _CONTROL.pack(stream.number, event, value) + payload
        self._deliver_control()

    # Helpers.

    def _stream(self, name: str) -> _Stream:
        if name not in self._by_name:
            raise NotFoundError(f"console port {name}", f"this machine has {', '.join(self._by_name)}")
        return self._by_name[name]

    def _serve(self, job: Callable[[], None]) -> None:
        link = self._link
        if link is not None:
            link.serve(job)

    def _multiport(self, link: Link) -> bool:
        return bool(link.features & MULTIPORT)

    def _set_host_open(self, name: str, is_open: bool) -> None:
        stream = self._stream(name)
        with self._guard:
            stream.host_open = is_open
            self._room.notify_all()
        self._serve(partial(self._tell_host_open, stream))

    def _set_guest_open(self, stream: _Stream, is_open: bool) -> None:
        if stream.guest_open != is_open:
            stream.guest_open = is_open
            stream.port.on_open(is_open)
