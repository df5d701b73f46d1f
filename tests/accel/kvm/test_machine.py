"""Tiny guests on the host's own KVM, in real, protected and 64-bit mode: what they compute, how they stop, and what is left."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

import pytest

from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.state import load_chips, load_vcpu, save_chips, save_vcpu, set_cpuid
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import BadInputError, GasangError, MachineDiedError, StateError, TimedOutError, UnsupportedError, UsageError
from gasang.core.protocols import GuestMemoryFault
from gasang.host.kvm import ioctls
from gasang.host.kvm.ioctls import RefusedError
from support.kvm_guests import CODE, DEVICE, SIZE, Recorder, long_mode, machine, needs_kvm, protected_mode, real_mode, word

pytestmark = needs_kvm
WAIT = 20.0
END = b"\xe6\xf4\xf4"  # out 0xf4, al; hlt


def finish(made: KvmMachine) -> None:
    """Run until the guest writes to port 0xf4."""
    end = Recorder(1)
    made.ports.attach("end", 0xF4, end)
    made.start()
    assert end.heard.wait(WAIT)
    made.stop()
    made.join()


def test_real_mode_reaches_ports() -> None:
    with machine() as made:
        port = Recorder(4, answer=0x12345678)
        made.ports.attach("port", 0x40, port)
        # in al, 0x41; add al, 1; out 0x40, al; in eax, 0x40; mov [0x600], eax; mov dx, 0x99; in ax, dx; mov [0x604], ax
        real_mode(made, bytes.fromhex("e441 0401 e640 66e540 66a30006 ba9900 ed a30406") + END)
        finish(made)
        assert port.stored == [(0, 1, 0x57)]
        assert struct.unpack("<IH", made.ram.read(0x600, 6)) == (0x12345678, 0xFFFF)
        assert made.unanswered == 0


def test_strings_of_port_accesses() -> None:
    with machine() as made:
        port = Recorder(1, answer=0x5A)
        made.ports.attach("port", 0x40, port)
        made.ram.write(0x600, b"hello")
        # cld; mov si, 0x600; mov cx, 5; mov dx, 0x40; rep outsb; mov di, 0x700; mov cx, 5; rep insb
        real_mode(made, bytes.fromhex("fc be0006 b90500 ba4000 f36e bf0007 b90500 f36c") + END)
        finish(made)
        assert bytes(value for _, _, value in port.stored) == b"hello"
        assert made.ram.read(0x700, 6) == b"ZZZZZ\0"


def test_a_port_is_reached_again_and_again_by_one_at_a_time() -> None:
    """The second access takes another way than the first; another thread is in the device all the while."""

    class Counter(Recorder):
        inside = False

        def write(self, offset: int, width: int, value: int) -> None:
            assert not self.inside
            self.inside = True
            time.sleep(0)  # whoever may come in does now
            super().write(offset, width, value)
            self.inside = False

    with machine() as made:
        port = Counter(4, answer=0x0B0A)
        made.ports.attach("port", 0x40, port)
        # mov cx, 300; again: in al, 0x41; out 0x42, al; loop again
        real_mode(made, bytes.fromhex("b92c01 e441 e642 e2fa") + END)
        end = Recorder(1)
        made.ports.attach("end", 0xF4, end)
        made.start()
        others = 0
        while not end.heard.is_set():
            with made.bus.lock:
                port.write(0, 1, 0xFF)
            others += 1
        made.stop()
        made.join()
    assert port.stored.count((2, 1, 0x0B)) == 300
    assert len(port.stored) == 300 + others


def test_protected_mode_reaches_devices() -> None:
    with machine() as made:
        device = Recorder(0x1000, answer=0x8877665544332211)
        made.bus.attach("device", 0xFE00_0000, device)
        # mov eax, [0xfe000002]; mov [0x600], eax; mov dword [0xfe000010], 0xabcd; mov byte [0xfe000020], 7; mov eax, [0xe0000000]
        # mov [0x604], eax; mov [0xe0000000], eax
        code = "a1020000fe a300060000 c705100000fecdab0000 c605200000fe07 a1000000e0 a304060000 a3000000e0"
        protected_mode(made, bytes.fromhex(code) + END)
        finish(made)
        assert struct.unpack("<II", made.ram.read(0x600, 8)) == (0x66554433, 0xFFFF_FFFF)
        assert device.stored == [(0x10, 4, 0xABCD), (0x20, 1, 7)]
        assert made.unanswered == 1


def test_long_mode_computes() -> None:
    with machine() as made:
        made.ram.write(0x600, struct.pack("<Q", 0x1234_5678_9ABC_DEF0))
        # mov rax, [0x600]; add rax, rax; mov [0x608], rax
        long_mode(made, bytes.fromhex("488b042500060000 4801c0 4889042508060000") + END)
        finish(made)
        assert word(made, 0x608) == 0x2468_ACF1_3579_BDE0


def test_a_running_vcpu_is_stopped_from_outside() -> None:
    with machine() as made:
        real_mode(made, b"\xeb\xfe")
        made.start()
        begin = time.monotonic()
        made.stop()
        made.join()
        assert time.monotonic() - begin < WAIT


def test_a_kick_before_the_run_is_not_lost() -> None:
    with machine() as made:
        real_mode(made, b"\xeb\xfe")
        vcpu = made.vcpus[0]
        results: list[int | None] = []

        def live() -> None:
            vcpu.enter()
            vcpu.kick()
            results.append(vcpu.run())
            vcpu.leave()

        thread = threading.Thread(target=live)
        thread.start()
        thread.join(WAIT)
        assert results == [None]


def test_one_that_is_closed_may_be_stopped_by_whoever_does_not_know_it() -> None:
    with machine() as made:
        real_mode(made, END)
        finish(made)
    made.stop()
    made.vcpus[0].kick()


def test_a_paused_machine_stands_still_and_goes_on() -> None:
    with machine(Shape(ram=((0, SIZE),), vcpus=2, irqchip=False)) as made:
        port, halted = Recorder(1), Recorder(1)
        made.ports.attach("port", 0x40, port)
        made.ports.attach("halted", 0x50, halted)
        # again: inc byte [0x600]; mov al, [0x600]; out 0x40, al; jmp again -- and beside it: out 0x50, al; hlt
        real_mode(made, bytes.fromhex("fe060006 a00006 e640 ebf5") + bytes(16) + b"\xe6\x50\xf4")
        real_mode(made, made.ram.read(CODE, 64), number=1)
        registers = made.vcpus[1].get(ioctls.GET_REGS)
        registers.rip += 11 + 16
        made.vcpus[1].set(ioctls.SET_REGS, registers)
        made.start()
        assert halted.heard.wait(WAIT)
        for _ in range(20):
            port.heard.clear()
            assert port.heard.wait(WAIT)
            made.pause()
            told, state = len(port.stored), bytes(made.vcpus[0].get(ioctls.GET_REGS))
            assert told & 0xFF in (made.ram.read(0x600, 1)[0], made.ram.read(0x600, 1)[0] - 1 & 0xFF)
            with pytest.raises(StateError, match="paused already"):
                made.pause()
            assert made.paused
            assert (len(port.stored), bytes(made.vcpus[0].get(ioctls.GET_REGS))) == (told, state)
            made.resume()
        assert [value for _, _, value in port.stored] == [(number + 1) & 0xFF for number in range(len(port.stored))]
        assert len(halted.stored) == 1
        made.pause()
        made.stop()
        made.join()
        assert not made.paused
        with pytest.raises(StateError, match="it does not run"):
            made.pause()


def test_a_pause_completes_the_access_that_is_under_way() -> None:
    class Slow(Recorder):
        """Answers when it may."""

        def read(self, offset: int, width: int) -> int:
            self.heard.set()
            assert may.wait(WAIT)
            return 0x1234_5678

    may = threading.Event()
    with machine() as made:
        port = Slow(4)
        made.ports.attach("port", 0x40, port)
        real_mode(made, bytes.fromhex("66e540 ebfe"))  # in eax, 0x40; jmp $
        made.start()
        assert port.heard.wait(WAIT)
        pausing = threading.Thread(target=made.pause)
        pausing.start()
        assert made.attention.wait(WAIT)
        may.set()
        pausing.join(WAIT)
        registers = made.vcpus[0].get(ioctls.GET_REGS)
        assert (registers.rax & 0xFFFF_FFFF, registers.rip) == (0x1234_5678, CODE + 3)


def test_what_never_began_cannot_be_paused_nor_go_on() -> None:
    with machine() as made:
        with pytest.raises(StateError, match="it does not run; start it first"):
            made.pause()
        with pytest.raises(StateError, match="it is not paused"):
            made.resume()


def test_a_pause_gives_up_on_a_vcpu_that_does_not_stop() -> None:
    may = threading.Event()

    class Stuck(Recorder):
        """Answers when it may."""

        def read(self, offset: int, width: int) -> int:
            self.heard.set()
            assert may.wait(WAIT)
            return 0

    with machine() as made:
        port, other = Stuck(4), Recorder(1)
        made.ports.attach("port", 0x40, port)
        made.ports.attach("other", 0x50, other)
        real_mode(made, bytes.fromhex("e540 e650 ebfc"))  # in ax, 0x40; again: out 0x50, al; jmp again
        made.start()
        assert port.heard.wait(WAIT)
        with pytest.raises(TimedOutError, match=r"a processor did not stop within 0\.1 s"):
            made.pause(0.1)
        may.set()
        assert other.heard.wait(WAIT), "it goes on"
        made.pause()
        made.resume()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        # lidt [0x600] (all zeroes); mov rax, [0x7f0000000000]
        ("0f011c2500060000 48a100000000007f0000", "triple fault(, at rip 0x8008)?; see"),
    ],
)
def test_a_guest_that_ends_itself(code: str, says: str) -> None:
    with machine() as made:
        long_mode(made, bytes.fromhex(code))
        made.start()
        with pytest.raises(MachineDiedError, match=says) as caught:
            made.join()
        assert caught.value.subject == "vCPU 0"


def test_what_a_vcpu_is_goes_from_one_machine_to_another() -> None:
    with Kvm(DEVICE) as kvm:
        numbers, leaves = kvm.msrs(), kvm.cpuid()
    # again: mov rax, [0x600]; inc rax; mov [0x600], rax; out 0x40, al; jmp again
    code = "488b042500060000 48ffc0 4889042500060000 e640 ebe9"
    with machine() as first, machine() as second:
        set_cpuid(first.vcpus[0], leaves)
        long_mode(first, bytes.fromhex(code))
        port = Recorder(1)
        first.ports.attach("port", 0x40, port)
        first.start()
        while len(port.stored) < 10:
            port.heard.wait(WAIT)
            port.heard.clear()
        first.stop()
        first.join()
        count = word(first, 0x600)
        state = save_vcpu(first.vcpus[0], numbers, irqchip=False)
        second.ram.write(0, first.ram.read(0, SIZE))
        load_vcpu(second.vcpus[0], state)
        # Time goes on between the two.
        again = save_vcpu(second.vcpus[0], numbers, irqchip=False)
        assert {name for name in state if again[name] != state[name]} <= {"msrs"}
        other = Recorder(1)
        second.ports.attach("port", 0x40, other)
        second.start()
        assert other.heard.wait(WAIT)
        second.stop()
        second.join()
        assert other.stored[0][2] in ((count & 0xFF), (count + 1) & 0xFF)
        for name, data in (("regs", b""), ("sregs", b"\0" * 10), ("xsave", None), ("version", 9)):
            with pytest.raises(BadInputError):
                load_vcpu(second.vcpus[0], {**state, name: data})


def test_the_kernels_devices_are_data_too() -> None:
    with machine(Shape(ram=((0, SIZE),))) as first, machine(Shape(ram=((0, SIZE),))) as second:
        state = save_chips(first.descriptor)
        load_chips(second.descriptor, state)
        again = save_chips(second.descriptor)
        assert {name for name in state if again[name] != state[name]} <= {"clock", "pit"}
        assert again["clock"] >= state["clock"]
        first.interrupt(4, True)
        assert save_chips(first.descriptor)["ioapic"] != state["ioapic"]
        with pytest.raises(BadInputError, match="saved ioapic: it is no 520 bytes"):
            load_chips(second.descriptor, {**state, "ioapic": b""})


def test_a_message_that_leads_nowhere_is_lost() -> None:
    """Address and data are the guest's to choose."""
    with machine(Shape(ram=((0, SIZE),))) as made:
        for address, data in ((0, 0), (0xFEE0_0000, 0), (0xFEEF_F00C, 0xFFFF_FFFF), ((1 << 64) - 1, 0x41), (0xFF << 32, 0x4041)):
            made.messages.send(address, data)


def test_everything_is_given_back() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for shape in (Shape(ram=((0, SIZE),)), Shape(ram=((0, SIZE), (1 << 32, SIZE)), vcpus=2, irqchip=True)):
        with machine(shape):
            assert len(os.listdir("/proc/self/fd")) > len(before)
        assert set(os.listdir("/proc/self/fd")) == before
    with Kvm(DEVICE) as kvm:
        refused(kvm, UsageError, "0 processors", vcpus=0)
        refused(kvm, UsageError, "100000 processors", vcpus=100_000)
        refused(kvm, RefusedError, r"KVM_SET_USER_MEMORY_REGION \(Invalid argument\)", ram=(0x123, SIZE))
    assert set(os.listdir("/proc/self/fd")) == before


def refused(kvm: Kvm, error: type[GasangError], says: str, ram: tuple[int, int] = (0, SIZE), vcpus: int = 1) -> None:
    """A machine of this shape cannot be made."""
    with pytest.raises(error, match=says):
        KvmMachine(kvm, Shape(ram=(ram,), vcpus=vcpus))


def test_what_is_no_kvm(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="the host refuses KVM_GET_API_VERSION"):
        Kvm(Path("/dev/null"))
    with pytest.raises(UnsupportedError, match="it cannot be opened \\(No such file"):
        Kvm(tmp_path / "nothing")


def test_memory_has_a_hole() -> None:
    with machine(Shape(ram=((0, SIZE), (1 << 32, SIZE)), irqchip=False)) as made:
        made.ram.write((1 << 32) + 16, b"high")
        assert made.ram.view((1 << 32) + 16, 4) == b"high"
        assert made.ram.memory.view[SIZE + 16 : SIZE + 20] == b"high"
        for address, length in ((SIZE - 1, 2), (SIZE, 1), ((1 << 32) - 1, 1), ((1 << 32) + SIZE - 1, 2), (0, -1), (-1, 1), (1 << 64, 1)):
            with pytest.raises(GuestMemoryFault):
                made.ram.read(address, length)


def test_a_refusal_names_the_ioctl() -> None:
    with machine() as made:
        vcpu = made.vcpus[0]
        special = vcpu.get(ioctls.GET_SREGS)
        special.cr4, special.efer = 1 << 63, 1 << 63
        with pytest.raises(RefusedError, match=r"/dev/kvm: the host refuses KVM_SET_SREGS \(Invalid argument\); use --accel soft"):
            vcpu.set(ioctls.SET_SREGS, special)
