"""A machine gives everything back when it is closed, however it ended."""

from __future__ import annotations

import os
import queue
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.accel.soft.jit import store
from gasang.core.errors import BadInputError, GasangError, UsageError
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.board import RAM_BASE, VIRTIO_BASE
from gasang.kinds.vm.launch import map_given
from gasang.kinds.vm.loader import load_kernel
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.parts import Parts
from support.assembler import A7, ECALL, T0, ZERO, Line, addi, assemble, jump
from support.kernels import image
from support.supervised import eventually

MIB = 1 << 20
OFF = (addi(A7, ZERO, 8), ECALL)
MAPS = Path("/proc/self/maps")
QUEUE = RAM_BASE + 32 * MIB

needs_maps = pytest.mark.skipif(not MAPS.exists(), reason="this host does not tell what a process has mapped")


def parts(*program: Line, memory: int = 64 * MIB, told: list[str] | None = None) -> Parts:
    kernel = load_kernel(image(assemble(*program)), "kernel", RAM_BASE)
    said = told if told is not None else []
    return Parts(2, memory, kernel, b"", "", lambda data: None, [VirtioRng(), VirtioConsole([Port("a", lambda data: None)])], said.append)


def mapped() -> list[str]:
    return [line.split()[-2] for line in MAPS.read_text().splitlines() if "memfd:gasang" in line]


def set_up_queue(vm: VirtualMachine, window: int) -> None:
    """What a driver does; a write to one register each."""
    base = VIRTIO_BASE + 0x1000 * window
    for offset, value in (
        (0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0), (0x20, 0), (0x70, 11), (0x30, 0), (0x38, 8), (0x80, QUEUE & 0xFFFF_FFFF),
        (0x90, QUEUE + 0x1000 & 0xFFFF_FFFF), (0xA0, QUEUE + 0x2000 & 0xFFFF_FFFF), (0x44, 1), (0x70, 15),
    ):  # fmt: skip
        vm.board.bus.write(base + offset, 4, value)
    assert vm.board.bus.read(base + 0x44, 4) == 1
    assert vm.board.bus.read(base + 0x70, 4) == 15


@needs_maps
@pytest.mark.parametrize("ending", ["by itself", "stopped", "never started"])
def test_memory_is_given_back(ending: str) -> None:
    before = mapped()
    with VirtualMachine(parts(*(OFF if ending == "by itself" else (jump(0),)))) as vm:
        assert len(mapped()) > len(before)
        set_up_queue(vm, 0)
        set_up_queue(vm, 1)
        if ending != "never started":
            vm.start()
        if ending == "by itself":
            vm.join()
        else:
            vm.stop()
    assert mapped() == before
    assert not any(hart.thread is not None and hart.thread.is_alive() for hart in vm.machine.harts)


@needs_maps
@pytest.mark.parametrize(("memory", "words"), [(4 * MIB, "kernel and initrd do not fit"), (64 * MIB + 5, "whole pages")])
def test_a_machine_that_cannot_be_made_leaves_nothing(memory: int, words: str) -> None:
    before = mapped()
    with pytest.raises(UsageError, match=words):
        VirtualMachine(parts(*OFF, memory=memory))
    assert mapped() == before


def test_a_kernel_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(image(assemble(*OFF), 4 * MIB).ljust(4 * MIB, b"\0"))
    kernel = load_kernel(map_given(path, "kernel"), "kernel", RAM_BASE)
    os.truncate(path, 4096)
    with pytest.raises(BadInputError, match="changed while it was read"):
        VirtualMachine(replace(parts(*OFF), kernel=kernel))


def test_closing_twice_and_what_comes_late_does_nothing() -> None:
    vm = VirtualMachine(parts(*OFF))
    vm.start()
    vm.close()
    vm.close()
    vm.stop()
    with vm.board.bus.lock:
        vm.board.serial.receive(b"typed after the end")
    vm.machine.harts[0].external_interrupt(True)
    assert vm.machine.stopping.is_set()


def test_an_error_leaves_the_machine_closed() -> None:
    vm = VirtualMachine(parts(jump(0)))

    def fail() -> None:
        with vm:
            vm.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any(hart.thread is not None and hart.thread.is_alive() for hart in vm.machine.harts)


def test_a_device_that_fails_is_told_by_its_name_and_stands_still() -> None:
    told: list[str] = []
    with VirtualMachine(parts(*OFF, told=told)) as vm:
        set_up_queue(vm, 0)
        vm.machine.ram.write(QUEUE + 0x1002, (9).to_bytes(2, "little"))  # nine buffers in a queue of eight
        vm.board.bus.write(VIRTIO_BASE + 0x50, 4, 0)
        assert vm.board.bus.read(VIRTIO_BASE + 0x70, 4) == 15 | 64
        vm.board.bus.write(VIRTIO_BASE + 0x50, 4, 0)
    assert told == [
        "virtio entropy source at 0x10001000: 9 buffers are available in a queue of 8; it stands still until the guest resets it"
    ]


def test_a_machine_whose_code_cannot_be_compiled_tells_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "default_folder", lambda: tmp_path)
    told: queue.Queue[str] = queue.Queue()
    loop = addi(T0, T0, 1), jump(-4)
    with VirtualMachine(replace(parts(*loop), jit="on", compiler=lambda: None, warn=told.put)) as vm:
        vm.start()
        assert told.get(timeout=60) == "hot code is only interpreted: the host starts no process that compiles it"
        before = vm.machine.instructions
        eventually(lambda: vm.machine.instructions > before + 1_000_000)


def test_a_machine_is_no_error_of_its_own() -> None:
    """What ended it by accident is raised by `join`, and closing after that is silent."""
    with VirtualMachine(parts(("ebreak", {}))) as vm:
        vm.start()
        with pytest.raises(GasangError, match="can never go on"):
            vm.join()
