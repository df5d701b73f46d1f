"""From a specification to an exit code, with guests of a few instructions; and what keeps a machine from being started."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.kvm import reality
from gasang.accel.kvm.reality import Kind as KvmKind
from gasang.accel.kvm.reality import Reality
from gasang.accel.soft.lost import LostGuestError
from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, GasangError, MachineDiedError, UsageError
from gasang.core.progress import Silent
from gasang.cpus.riscv64 import library
from gasang.images import initramfs
from gasang.images.control import ControlPort
from gasang.images.cpio import archive
from gasang.images.initramfs import GuestSettings
from gasang.images.ready import BootFiles
from gasang.kinds.vm.agent import executable
from gasang.kinds.vm.disks import Disk
from gasang.kinds.vm.guest_ports import Chatter
from gasang.kinds.vm.launch import DIED, VmSpec, boot_guest, run_vm
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.sockets import GUEST_SOCKET
from gasang.storage.raw import Raw
from gasang.storage.tree import Entry, Kind
from support.assembler import A0, A1, A6, A7, ECALL, T0, T1, T2, WFI, ZERO, addi, assemble, jump, lui
from support.bzimages import bzimage
from support.kernels import elf, image

MIB = 1 << 20


class Person:
    """A console: what was shown, and how to leave."""

    def __init__(self, leaves: bool = False) -> None:
        self.shown = bytearray()
        self.told = bytearray()
        self._leaves = leaves
        self._quit: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.shown += data

    def write_error(self, data: bytes) -> None:
        self.told += data

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        callback(b"")
        if self._leaves:
            threading.Thread(target=self._quit).start()

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        callback(WindowSize(80, 24))

    def on_quit(self, callback: Callable[[], None]) -> None:
        self._quit = callback


Program = tuple[tuple[str, dict[str, int]], ...]

SAY_A = (addi(A7, ZERO, 1), addi(A0, ZERO, ord("A")), ECALL)
OFF = (addi(A7, ZERO, 8), ECALL)
RESET = (lui(A7, 0x5352_5000), ("addiw", {"rd": A7, "rs1": A7, "imm": 0x354}), addi(A6, ZERO, 0), addi(A0, ZERO, 0))
FAIL = (*RESET, addi(A1, ZERO, 1), ECALL)
END = (*RESET, addi(A1, ZERO, 0), ECALL)
IDLE = (WFI, jump(-4))


def spec(folder: Path, *program: tuple[str, dict[str, int]], wrap: Callable[[bytes], bytes] = image) -> VmSpec:
    kernel = folder / "kernel"
    kernel.write_bytes(wrap(assemble(*program)))
    return VmSpec(1, 64 * MIB, kernel, None, "", None, (), (), False, ())


def image_files(folder: Path, *program: tuple[str, dict[str, int]]) -> BootFiles:
    """An image's files; the kernel is `program`."""
    for name, content in (("image-kernel", image(assemble(*program))), ("image-initrd", archive([])), ("image-disk", bytes(1 << 16))):
        (folder / name).write_bytes(content)
    return BootFiles(folder / "image-kernel", folder / "image-initrd", folder / "image-disk", "quiet")


COMMAND = GuestSettings("command", ("true",))


def test_only_the_software_processor_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reality, "reality", lambda: Reality(KvmKind.REAL, 2e9))
    path = tmp_path / "kernel"
    path.write_bytes(bzimage())
    made = VmSpec(1, 64 * MIB, path, None, "", None, (), (), False, (), architecture="amd64", jit="on")
    with pytest.raises(UsageError, match="option --jit: the machine runs on kvm, not on the software processor"):
        run_vm(made, Person(), Silent())


def test_a_guest_whose_hot_code_is_compiled(tmp_path: Path) -> None:
    loop = (lui(T0, 0x100_0000), addi(T0, T0, -1), ("bne", {"rs1": T0, "rs2": ZERO, "imm": -4}))
    person = Person()
    assert run_vm(replace(spec(tmp_path, *loop, *SAY_A, *OFF), jit="on"), person, Silent()) == 0
    assert person.shown == b"A"
    assert [thread for thread in threading.enumerate() if thread.name == "jit"] == []


def boot(folder: Path, person: Person, *program: tuple[str, dict[str, int]], settings: GuestSettings = COMMAND) -> int:
    """Boot an image that runs a command."""
    files = image_files(folder, *program)
    machine = replace(spec(folder), memory=128 * MIB, image="debian:none", architecture="riscv64")
    with closing(Raw.open(files.disk)) as disk:
        return boot_guest(machine, files, disk, settings, person, ControlPort(lambda stage: None))


def test_an_image_has_sockets_and_the_agent_where_there_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing of them is there."""
    monkeypatch.setattr(executable, "agent_program", lambda family: f"the program for {family}".encode())
    given: list[tuple[bytes, bool]] = []
    whole = initramfs.overlay

    def noted(settings: GuestSettings, agent: bytes = b"", *, serves: bool) -> bytes:
        given.append((agent, serves))
        return whole(settings, agent, serves=serves)

    monkeypatch.setattr(initramfs, "overlay", noted)
    files = image_files(tmp_path, *OFF)
    for folder in (None, tmp_path / "sockets"):
        met: list[tuple[list[int], bool]] = []
        if folder is not None:
            folder.mkdir()

        def meet(vm: VirtualMachine, met: list[tuple[list[int], bool]] = met) -> None:
            met.append(([transport.device.device_id for transport in vm.board.virtio], (tmp_path / "sockets" / GUEST_SOCKET).is_socket()))

        machine = replace(spec(tmp_path), memory=128 * MIB, image="debian:none", sockets=folder, watch=meet)
        with closing(Raw.open(files.disk)) as disk, pytest.raises(MachineDiedError):
            boot_guest(machine, files, disk, COMMAND, Person(), ControlPort(lambda stage: None))
        assert met == [([3, 2, 4, 19], True) if folder is not None else ([3, 2, 4], False)]
    assert given == [(b"", False), (b"the program for riscv64", True)]
    assert list((tmp_path / "sockets").iterdir()) == []


def guest_memory() -> list[str]:
    """The mappings of guests' memory in this process, where the host tells."""
    maps = Path("/proc/self/maps")
    return [line for line in maps.read_text().splitlines() if "memfd:gasang" in line] if maps.exists() else []


def harts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("hart ")]


@pytest.mark.parametrize("wrap", [image, elf])
@pytest.mark.parametrize(("ending", "code"), [(OFF, 0), (END, 0), (FAIL, 1)], ids=["legacy", "reset", "failure"])
def test_a_guest_speaks_and_ends(ending: Program, code: int, wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    person = Person()
    assert run_vm(spec(tmp_path, *SAY_A, *ending, wrap=wrap), person, Silent()) == code
    assert person.shown == b"A"
    assert harts() == []


@pytest.mark.parametrize("program", [IDLE, (jump(0),)], ids=["idle", "busy"])
def test_a_person_leaves(program: Program, tmp_path: Path) -> None:
    assert run_vm(replace(spec(tmp_path, *program), cpus=2), Person(leaves=True), Silent()) == DIED
    assert harts() == []


def test_a_machine_ends_though_another_goes_on(tmp_path: Path) -> None:
    """Each waits for its own processors only."""
    going, over = Person(), threading.Event()
    started = threading.Event()
    going.on_input = lambda callback: started.set()  # type: ignore[method-assign]
    other = threading.Thread(target=lambda: (run_vm(spec(tmp_path, *IDLE), going, Silent()), over.set()))
    other.start()
    assert started.wait(60)
    (tmp_path / "second").mkdir()
    assert run_vm(spec(tmp_path / "second", *OFF), Person(), Silent()) == 0
    assert not over.is_set()
    going._quit()
    other.join()
    assert over.is_set()


def test_a_fault_of_ours_ends_the_machine(tmp_path: Path) -> None:
    class Broken(Person):
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_vm(replace(spec(tmp_path, *SAY_A, *IDLE), cpus=2), Broken(), Silent())
    assert harts() == []


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="32 MiB of memory: too little for a Linux kernel; give at least --memory 64M"):
        run_vm(replace(spec(tmp_path, *OFF), memory=32 * MIB), Person(), Silent())
    (tmp_path / "initrd").write_bytes(archive([Entry(path="a", kind=Kind.FILE, data=bytes(40 * MIB))]))
    small = replace(spec(tmp_path, *OFF), initrd=tmp_path / "initrd")
    with pytest.raises(UsageError, match=r"64 MiB of memory: too little for kernel .*; give at least --memory 96M") as caught:
        run_vm(small, Person(), Silent())
    enough = int(caught.value.hint.split()[-1].rstrip("M")) * MIB
    assert run_vm(replace(small, memory=enough), Person(), Silent()) == 0


def test_a_damaged_initrd_is_told_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "load", lambda: pytest.fail("it compiles first"))
    (tmp_path / "initrd").write_bytes(archive([])[:100])
    with pytest.raises(BadInputError, match=r"initrd .*: its archive ends early; give a complete one with --initrd"):
        run_vm(replace(spec(tmp_path, *OFF), initrd=tmp_path / "initrd"), Person(), Silent())


def test_a_machine_that_ends_before_its_command(tmp_path: Path) -> None:
    with pytest.raises(MachineDiedError, match=r"image debian:none: its machine ended too early; give it more --memory") as caught:
        boot(tmp_path, Person(), *END)
    assert caught.value.exit_code == DIED
    assert harts() == []


def test_a_shell_may_switch_its_machine_off(tmp_path: Path) -> None:
    shell = GuestSettings("shell")
    assert boot(tmp_path, Person(), *END, settings=shell) == 0
    with pytest.raises(MachineDiedError):
        boot(tmp_path, Person(), *FAIL, settings=shell)


def test_an_image_needs_room_for_its_files(tmp_path: Path) -> None:
    files = image_files(tmp_path, *END)
    files.initrd.write_bytes(gzip.compress(archive([Entry(path="a", kind=Kind.FILE, data=bytes(80 * MIB))])))
    machine = replace(spec(tmp_path), memory=128 * MIB, image="debian:none")
    says = "128 MiB of memory: too little for image debian:none; give at least --memory 160M"
    with closing(Raw.open(files.disk)) as disk, pytest.raises(UsageError, match=says):
        boot_guest(machine, files, disk, COMMAND, Person(), ControlPort(lambda stage: None))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"all is well\n", ""),
        (b"[ 1.0] Kernel panic - not syncing: No init found.\r\nmore", ", by a kernel panic (No init found.)"),
        (b"Kernel panic - not syncing: \x1b[31m\n", ""),
        (b"Kernel panic - not syncing: a\nKernel panic - not syncing: " + b"b" * 300, f", by a kernel panic ({'b' * 120})"),
    ],
)
def test_why_a_kernel_panicked(said: bytes, told: str) -> None:
    chatter = Chatter()
    chatter.take(said)
    assert chatter.panic() == told


@pytest.mark.parametrize("part", ["kernel", "initrd"])
def test_what_cannot_be_read_is_named(part: str, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(BadInputError, match=f"{part} {path}: it cannot be read"):
            run_vm(replace(spec(tmp_path, *OFF), **{part: path}), Person(), Silent())


def test_a_disk_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GasangError, match="nothing"):
        run_vm(replace(spec(tmp_path, *OFF), disks=(Disk(tmp_path / "nothing"),)), Person(), Silent())


@given(pieces=st.lists(st.binary(max_size=50_000), max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_last_of_the_chatter_is_kept(pieces: list[bytes]) -> None:
    chatter = Chatter()
    for piece in pieces:
        chatter.take(piece)
    assert chatter.text() == b"".join(pieces)[-Chatter.KEPT :]


def test_a_guest_that_can_never_go_on_ends_its_machine(tmp_path: Path) -> None:
    """A breakpoint, and no trap handler at address 0."""
    with pytest.raises(LostGuestError, match=r"guest, hart 0: it can never go on: .* stvec 0x0\)") as caught:
        run_vm(replace(spec(tmp_path, *SAY_A, ("ebreak", {})), cpus=2), Person(), Silent())
    assert caught.value.exit_code == DIED
    assert harts() == []


@pytest.mark.parametrize("program", [OFF, FAIL, (("ebreak", {}),)], ids=["off", "failure", "lost"])
def test_a_machine_that_is_over_keeps_no_memory(program: Program, tmp_path: Path) -> None:
    """So that an image can be configured and run in one process."""
    before = guest_memory()
    with suppress(MachineDiedError):
        boot(tmp_path, Person(), *program)
    assert guest_memory() == before
    with suppress(LostGuestError):
        run_vm(spec(tmp_path, *program), Person(), Silent())
    assert guest_memory() == before


def test_the_last_words_of_a_lost_guest_are_shown(tmp_path: Path) -> None:
    person = Person()
    with pytest.raises(LostGuestError):
        boot(tmp_path, person, *SAY_A, ("ebreak", {}))
    assert (bytes(person.shown), bytes(person.told)) == (b"", b"A")


@pytest.mark.parametrize(("read_only", "code"), [("one", 0x20), ("two", 0x40), ("", 0)])
def test_disks_come_in_order_each_writable_or_not(read_only: str, code: int, tmp_path: Path) -> None:
    """Windows 0 and 1 offer VIRTIO_BLK_F_RO or not: the guest's exit code is that bit of the one, and twice that of the other."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(bytes(512))
    program = (
        lui(T0, 0x1000_1000), ("lwu", {"rd": A1, "rs1": T0, "imm": 0x10}), ("andi", {"rd": A1, "rs1": A1, "imm": 0x20}),
        lui(T1, 0x1000), ("add", {"rd": T0, "rs1": T0, "rs2": T1}),
        ("lwu", {"rd": T2, "rs1": T0, "imm": 0x10}), ("andi", {"rd": T2, "rs1": T2, "imm": 0x20}),
        ("slli", {"rd": T2, "rs1": T2, "imm": 1}), ("add", {"rd": T2, "rs1": T2, "rs2": A1}), ("slli", {"rd": T2, "rs1": T2, "imm": 16}),
        lui(T1, 0x3000), addi(T1, T1, 0x333), ("add", {"rd": T2, "rs1": T2, "rs2": T1}),
        lui(T0, 0x10_0000), ("sw", {"rs1": T0, "rs2": T2, "imm": 0}), jump(0),
    )  # fmt: skip
    made = replace(spec(tmp_path, *program), disks=tuple(Disk(tmp_path / name, name == read_only) for name in ("one", "two")))
    assert run_vm(made, Person(), Silent()) == code


@pytest.mark.parametrize(
    ("kernel", "architecture", "says"),
    [
        (image(), "amd64", r"kernel .*: it is a riscv64 Image, this machine is amd64; give an x86-64 Linux kernel"),
        (bzimage(), "riscv64", r"kernel .*: it is an x86 bzImage, this machine is riscv64; give a riscv64 kernel"),
        (bzimage(), None, r"a machine of amd64: this host cannot run it \(no /dev/kvm\)"),
        (b"#!/bin/sh\n" + bytes(600), None, r"kernel .*: it is neither a riscv64 Linux Image"),
    ],
    ids=["riscv64 for amd64", "amd64 for riscv64", "amd64 where there is none", "none"],
)
def test_a_kernel_of_another_architecture(
    kernel: bytes, architecture: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Reality(KvmKind.REAL if architecture else KvmKind.ABSENT, 2e9)
    monkeypatch.setattr(reality, "reality", lambda: found)
    path = tmp_path / "kernel"
    path.write_bytes(kernel)
    with pytest.raises(GasangError, match=says):
        run_vm(VmSpec(1, 64 * MIB, path, None, "", None, (), (), False, (), architecture=architecture), Person(), Silent())
