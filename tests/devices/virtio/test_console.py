"""The console: handshake of ports, data both ways, back-pressure, end-of-file, window size."""

from __future__ import annotations

import struct
import threading

import pytest

from gasang.core.errors import NotFoundError
from gasang.devices.virtio.console import MULTIPORT, SIZE, WAITING_LIMIT, Port, VirtioConsole
from support.virtio_driver import CONFIG, STATUS, Driver

DEVICE_READY, DEVICE_ADD, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME = 0, 1, 3, 4, 5, 6, 7
CONTROL_RECEIVE, CONTROL_TRANSMIT = 2, 3
NEEDS_RESET = 64


class Guest:
    """A machine with a console and two named ports, and a driver that behaves as Linux' does."""

    def __init__(self, features: int = SIZE | MULTIPORT) -> None:
        self.output = {name: bytearray() for name in ("console", "stdin", "stdout")}
        self.opened: list[tuple[str, bool]] = []
        self.console = VirtioConsole([self.port(name) for name in self.output])
        self.driver = Driver(self.console)
        self.features = features
        self.input: dict[int, bytearray] = {number: bytearray() for number in range(3)}

    def port(self, name: str) -> Port:
        return Port(name, self.output[name].extend, lambda is_open: self.opened.append((name, is_open)), name == "console")

    def boot(self) -> Guest:
        self.driver.start(self.features)
        if self.features & MULTIPORT:
            self.give(CONTROL_RECEIVE, 8, 64)
            self.tell(0xFFFF_FFFF, DEVICE_READY, 1)
        return self

    def give(self, queue: int, count: int, size: int) -> None:
        for _ in range(count):
            self.driver.rings[queue].add(writable=[size])
        self.driver.notify(queue)

    def tell(self, port: int, event: int, value: int) -> None:
        self.driver.request(CONTROL_TRANSMIT, [struct.pack("<IHH", port, event, value)])

    def messages(self) -> list[tuple[int, int, int, bytes]]:
        """The control messages that came, and new buffers for more."""
        came = [content for _, content in self.driver.rings[CONTROL_RECEIVE].take_used()]
        self.give(CONTROL_RECEIVE, len(came), 64)
        return [(*struct.unpack("<IHH", content[:8]), content[8:]) for content in came]

    def ready(self, port: int) -> list[tuple[int, int, int, bytes]]:
        self.tell(port, PORT_READY, 1)
        return self.messages()

    def open(self, port: int, buffers: int = 2, size: int = 64) -> None:
        self.give(self.receive(port), buffers, size)
        self.tell(port, PORT_OPEN, 1)

    @staticmethod
    def receive(port: int) -> int:
        return 2 * port + 2 if port else 0

    def read(self, port: int) -> bytes:
        """What arrived at a port, and new buffers for more."""
        came = [content for _, content in self.driver.rings[self.receive(port)].take_used()]
        self.give(self.receive(port), len(came), 64)
        return b"".join(came)

    def write(self, port: int, data: bytes) -> None:
        self.driver.request(self.receive(port) + 1, [data])


@pytest.fixture
def guest() -> Guest:
    return Guest().boot()


def test_announces_its_ports(guest: Guest) -> None:
    assert guest.messages() == [(0, DEVICE_ADD, 0, b""), (1, DEVICE_ADD, 0, b""), (2, DEVICE_ADD, 0, b"")]
    assert guest.ready(0) == [(0, CONSOLE_PORT, 1, b""), (0, PORT_OPEN, 1, b"")]
    assert guest.ready(1) == [(1, PORT_NAME, 1, b"stdin"), (1, PORT_OPEN, 1, b"")]
    assert guest.driver.read(CONFIG + 4) == 3
    assert len(guest.driver.transport.queues) == 8


def test_announces_each_port_once(guest: Guest) -> None:
    guest.messages()
    guest.ready(1)
    for _ in range(100):
        guest.tell(0, DEVICE_READY, 1)
        guest.tell(1, PORT_READY, 1)
    assert guest.messages() == []


def test_output_goes_to_the_ports_sink(guest: Guest) -> None:
    guest.write(0, b"login: ")
    guest.driver.request(7, [b"split ", b"over ", b"descriptors"])
    assert (guest.output["console"], guest.output["stdout"], guest.output["stdin"]) == (b"login: ", b"split over descriptors", b"")


def test_input_waits_for_somebody_to_open_the_port(guest: Guest) -> None:
    guest.ready(1)
    guest.give(guest.receive(1), 2, 4)
    assert guest.console.send("stdin", b"hello world") == 11
    assert guest.read(1) == b""
    guest.tell(1, PORT_OPEN, 1)
    assert guest.opened == [("stdin", True)]
    assert guest.read(1) == b"hello wo"
    assert guest.read(1) == b"rld"
    assert guest.console.waiting("stdin") == 0


def test_input_before_the_machine_runs_is_kept() -> None:
    guest = Guest()
    guest.console.send("stdin", b"early")
    guest.boot().ready(1)
    guest.open(1)
    assert guest.read(1) == b"early"


def test_end_of_file_comes_after_the_last_byte(guest: Guest) -> None:
    guest.messages()
    guest.ready(1)
    guest.open(1, buffers=1, size=4)
    guest.console.send("stdin", b"12345678")
    guest.console.close("stdin")
    assert guest.messages() == []
    assert guest.read(1) == b"1234"
    assert guest.messages() == [(1, PORT_OPEN, 0, b"")]
    assert guest.read(1) == b"5678"
    assert guest.console.send("stdin", b"too late") == 0
    guest.console.open("stdin")
    assert guest.messages() == [(1, PORT_OPEN, 1, b"")]
    assert guest.console.send("stdin", b"again") == 5
    assert guest.read(1) == b"again"


def test_a_port_closed_before_the_guest_came_is_never_opened(guest: Guest) -> None:
    guest.console.close("stdin")
    guest.messages()
    assert guest.ready(1) == [(1, PORT_NAME, 1, b"stdin")]


def test_a_port_closed_with_input_waiting_opens_until_it_is_read(guest: Guest) -> None:
    guest.console.send("stdin", b"all there is")
    guest.console.close("stdin")
    guest.messages()
    assert guest.ready(1)[-1] == (1, PORT_OPEN, 1, b"")
    guest.open(1)
    assert guest.messages() == [(1, PORT_OPEN, 0, b"")]
    assert guest.read(1) == b"all there is"


def test_a_full_port_takes_what_fits_and_makes_senders_wait(guest: Guest) -> None:
    guest.ready(1)
    assert guest.console.send("stdin", bytes(WAITING_LIMIT + 10), timeout=0) == WAITING_LIMIT
    assert guest.console.send("stdin", b"x", timeout=0.01) == 0
    taken: list[int] = []
    sender = threading.Thread(target=lambda: taken.append(guest.console.send("stdin", b"y" * 100)))
    sender.start()
    guest.open(1, buffers=2, size=64)
    sender.join(10)
    assert taken == [100]
    assert guest.console.waiting("stdin") == WAITING_LIMIT + 100 - 128


def test_closing_a_port_frees_its_senders(guest: Guest) -> None:
    guest.console.send("stdin", bytes(WAITING_LIMIT))
    taken: list[int] = []
    sender = threading.Thread(target=lambda: taken.append(guest.console.send("stdin", b"never")))
    sender.start()
    guest.console.close("stdin")
    sender.join(10)
    assert taken == [0]


def test_a_held_port_leaves_output_with_the_guest(guest: Guest) -> None:
    guest.console.hold("stdout", True)
    ring = guest.driver.rings[7]
    ring.add([b"wait"])
    guest.driver.notify(7)
    assert (ring.take_used(), guest.output["stdout"]) == ([], b"")
    guest.console.hold("stdout", False)
    assert (len(ring.take_used()), guest.output["stdout"]) == (1, b"wait")


def test_the_window_size_reaches_the_console(guest: Guest) -> None:
    guest.messages()
    guest.console.resize(120, 40)
    assert guest.driver.acknowledge() & 2
    assert [guest.driver.read(CONFIG, 2), guest.driver.read(CONFIG + 2, 2)] == [120, 40]
    assert guest.ready(0) == [(0, CONSOLE_PORT, 1, b""), (0, RESIZE, 0, struct.pack("<HH", 120, 40)), (0, PORT_OPEN, 1, b"")]
    guest.console.resize(80, 24)
    assert guest.messages() == [(0, RESIZE, 0, struct.pack("<HH", 80, 24))]


def test_a_guest_that_takes_no_messages_makes_none_pile_up() -> None:
    guest = Guest()
    guest.driver.start(guest.features)
    guest.tell(0, DEVICE_READY, 1)
    guest.tell(0, PORT_READY, 1)
    for columns in range(1, 3000):
        guest.console.resize(columns, 25)
        guest.console.close("console")
        guest.console.open("console")
    assert len(guest.console.save()["control"]) < 10
    guest.give(CONTROL_RECEIVE, 8, 64)
    assert (0, RESIZE, 0, struct.pack("<HH", 2999, 25)) in guest.messages()


def test_a_driver_without_multiport_has_one_console() -> None:
    guest = Guest(features=SIZE).boot()
    guest.give(0, 2, 64)
    guest.console.send("console", b"typed")
    assert guest.read(0) == b"typed"
    guest.write(0, b"shown")
    assert guest.output["console"] == b"shown"


def test_a_reset_closes_what_the_guest_had_open(guest: Guest) -> None:
    guest.messages()
    guest.ready(1)
    guest.open(1, buffers=1, size=1)
    guest.console.send("stdin", b"ab")
    guest.driver.write(STATUS, 0)
    assert guest.opened == [("stdin", True), ("stdin", False)]
    guest.boot()
    assert len(guest.messages()) == 3
    guest.ready(1)
    guest.open(1)
    assert guest.read(1) == b"b"


def test_the_guest_opening_and_closing_is_told_once(guest: Guest) -> None:
    guest.ready(2)
    for value in (1, 1, 0, 0, 1):
        guest.tell(2, PORT_OPEN, value)
    assert guest.opened == [("stdout", True), ("stdout", False), ("stdout", True)]


@pytest.mark.parametrize(
    "message",
    [b"", b"short", struct.pack("<IHH", 3, PORT_READY, 1), struct.pack("<IHH", 0xFFFF_FFFF, PORT_OPEN, 1), struct.pack("<IHH", 0, 77, 1)],
)
def test_nonsense_on_the_control_queue_is_ignored(guest: Guest, message: bytes) -> None:
    guest.messages()
    guest.driver.request(CONTROL_TRANSMIT, [message or b""])
    assert guest.messages() == []
    assert not guest.driver.faults


def test_buffers_without_room_fail_the_device(guest: Guest) -> None:
    guest.ready(1)
    guest.open(1, buffers=1, size=0)
    guest.console.send("stdin", b"x")
    assert guest.driver.read(STATUS) & NEEDS_RESET
    assert guest.console.waiting("stdin") == 1
    other = Guest()
    other.driver.start(other.features)
    other.give(CONTROL_RECEIVE, 1, 4)
    other.tell(0, DEVICE_READY, 1)
    assert other.driver.read(STATUS) & NEEDS_RESET


def test_a_restored_console_goes_on_where_it_stopped(guest: Guest) -> None:
    guest.messages()
    guest.console.resize(80, 25)
    guest.ready(1)
    guest.open(1, buffers=1, size=2)
    guest.console.send("stdin", b"abcd")
    state = guest.driver.transport.save()
    twin = Guest()
    twin.driver = Driver(twin.console, guest.driver.memory)
    twin.driver.transport.load(state)
    assert twin.driver.transport.save() == state
    assert twin.opened == [("stdin", True)]
    twin.driver.rings = guest.driver.rings
    assert [twin.read(1), twin.read(1)] == [b"ab", b"cd"]


def test_unknown_ports_and_impossible_consoles_are_refused(guest: Guest) -> None:
    with pytest.raises(NotFoundError, match="console, stdin, stdout"):
        guest.console.send("stderr", b"x")
    for names in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="name of its own"):
            VirtioConsole([Port(name, bytearray().extend) for name in names])
