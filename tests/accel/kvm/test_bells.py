"""Bells that a tiny guest rings: they are answered beside it, by the time it stands still, and no exit comes of them."""

from __future__ import annotations

import errno
import struct
import threading

import pytest

from gasang.accel.kvm import bells as module
from gasang.accel.kvm.machine import KvmMachine
from gasang.devices.virtio.bell import Place
from gasang.host.kvm import ioctls
from gasang.host.kvm.ioctls import Ioctl, RefusedError, call
from gasang.host.kvm.structures import Record
from support.kvm_guests import Recorder, long_mode, machine, needs_kvm, word

pytestmark = needs_kvm
WAIT = 20.0
ADDRESS = 0xC100_3000
END = b"\xe6\xf4\xeb\xfe"  # out 0xf4, al; again: jmp again
COUNTING = bytes.fromhex("48ff042500060000")  # inc qword [0x600]


def store(value: int, address: int = ADDRESS) -> bytes:
    """The instructions: mov ebx, address; mov eax, value; mov [rbx], ax."""
    return b"\xbb" + struct.pack("<I", address) + b"\xb8" + struct.pack("<I", value) + b"\x66\x89\x03"


def ends(made: KvmMachine) -> threading.Event:
    """What is set when the guest is at its end."""
    end = Recorder(1)
    made.ports.attach("end", 0xF4, end)
    return end.heard


def test_a_bell_is_answered_and_is_no_exit() -> None:
    with machine() as made:
        device = Recorder(0x1000)
        made.bus.attach("device", ADDRESS & ~0xFFF, device)
        answered = threading.Event()
        assert made.bells.hang(Place(ADDRESS, 2), answered.set)
        end = ends(made)
        long_mode(made, store(7) + store(7, ADDRESS + 4) + END)
        made.start()
        assert end.wait(WAIT)
        assert answered.wait(WAIT)
        assert device.stored == [(4, 2, 7)], "what is beside the bell is an exit"


def test_the_value_chooses_the_bell() -> None:
    with machine() as made:
        device = Recorder(0x1000)
        made.bus.attach("device", ADDRESS & ~0xFFF, device)
        answered = [0, 0]

        def count(index: int) -> None:
            answered[index] += 1

        for index in (0, 1):
            assert made.bells.hang(Place(ADDRESS, 2, index), lambda index=index: count(index))  # type: ignore[misc]
        end = ends(made)
        long_mode(made, store(1) + store(2) + END)
        made.start()
        assert end.wait(WAIT)
        made.pause()
        assert answered == [0, 1]
        assert device.stored == [(0, 2, 2)]
        made.resume()


def test_one_that_is_taken_down_is_an_exit_again() -> None:
    with machine() as made:
        device = Recorder(0x1000)
        made.bus.attach("device", ADDRESS & ~0xFFF, device)
        bell = made.bells.hang(Place(ADDRESS, 2), lambda: None)
        assert bell is not None
        bell.take_down()
        bell.take_down()
        end = ends(made)
        long_mode(made, store(5) + END)
        made.start()
        assert end.wait(WAIT)
        assert device.stored == [(0, 2, 5)]
        assert made.bells.answered == 0


def test_all_that_rang_is_answered_when_a_machine_stands_still() -> None:
    """However often: what the guest did before each ring is seen by an answer after it."""
    with machine() as made:
        seen = [0]

        def answer() -> None:
            seen[0] = word(made, 0x600)

        made.bells.hang(Place(ADDRESS, 2), answer)
        code = COUNTING + store(1)
        long_mode(made, code + b"\xeb" + struct.pack("<b", -len(code) - 2))
        made.start()
        before = 0
        for _ in range(5):
            made.pause()
            counted, answered = word(made, 0x600), made.bells.answered
            assert counted - 1 <= seen[0] <= counted, "but for a ring that it stands in front of"
            assert counted >= before
            assert made.bells.answered == answered
            before = counted
            made.resume()


def test_a_pause_waits_for_an_answer_under_way() -> None:
    with machine() as made:
        begun, go, paused = threading.Event(), threading.Event(), threading.Event()

        def answer() -> None:
            begun.set()
            assert go.wait(WAIT)
            assert not paused.is_set()

        made.bells.hang(Place(ADDRESS, 2), answer)
        long_mode(made, store(1) + END)
        ends(made)
        made.start()
        assert begun.wait(WAIT)

        def pause() -> None:
            made.pause()
            paused.set()

        thread = threading.Thread(target=pause)
        thread.start()
        assert not paused.wait(0.1)
        go.set()
        thread.join(WAIT)
        assert paused.is_set()
        made.resume()
        made.stop()
        made.join()


def test_an_answer_that_fails_ends_the_machine() -> None:
    with machine() as made:

        def answer() -> None:
            raise ZeroDivisionError

        made.bells.hang(Place(ADDRESS, 2), answer)
        ends(made)
        long_mode(made, store(1) + END)
        made.start()
        with pytest.raises(ZeroDivisionError):
            made.join()


def test_two_at_one_place_and_a_host_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with machine() as made:
        made.bells.refused = told.append
        assert made.bells.hang(Place(ADDRESS, 2), lambda: None)
        assert made.bells.hang(Place(ADDRESS, 2), lambda: None) is None
        assert told == []
        assert made.bells.hang(Place(ADDRESS + 4, 2), lambda: None)

        def refuse(descriptor: int, ioctl: Ioctl, argument: Record | int = 0) -> int:
            if ioctl is ioctls.IOEVENTFD:
                raise RefusedError(ioctl, errno.EINVAL)
            return call(descriptor, ioctl, argument)

        with monkeypatch.context() as patch:
            patch.setattr(module, "call", refuse)
            assert made.bells.hang(Place(ADDRESS + 8, 2), lambda: None) is None
            assert made.bells.hang(Place(ADDRESS + 12, 2), lambda: None) is None
        (sentence,) = told
        assert "refuses KVM_IOEVENTFD (Invalid argument)" in sentence
