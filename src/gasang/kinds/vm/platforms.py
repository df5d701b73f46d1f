"""What machines there are: for each architecture and accelerator, how a kernel is read and a machine is made. One table, PLATFORMS.

`choose` finds the one that is wished for: amd64 where the processor itself runs it, else the software processor with riscv64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gasang.core.errors import BadInputError, PermissionDeniedError, UnsupportedError
from gasang.core.progress import Progress
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.loader import Content, Kernel
from gasang.kinds.vm.parts import Parts

RISCV64, AMD64 = "riscv64", "amd64"
ARCHITECTURES: Final = (RISCV64, AMD64)
SOFT, KVM = "soft", "kvm"
ACCELERATORS: Final = (SOFT, KVM)

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Platform:
    """How a machine of `architecture` is made, on `accelerator`. What that needs is imported when it is called: a start has no time."""

    architecture: str
    family: str
    """The same as `uname -m` names it."""
    accelerator: str
    ram_base: int
    append: str
    """What an image's kernel is told before all else."""
    load_kernel: Callable[[Content, str], Kernel]
    """A kernel's file and its name, in messages. Raises BadInputError for what is none of this architecture."""
    prepare: Callable[[Progress], None]
    """Have ready what the first start of a host makes."""
    make: Callable[[Parts[Any]], AnyMachine]
    """Raises what the machine's class raises."""
    check_board: Callable[[Mapping[str, Any], str], None]
    """A snapshot's board and the snapshot, in messages. Raises BadInputError for one that no machine made here can be."""


def _soft_riscv64() -> Platform:
    from gasang.kinds.vm.board import RAM_BASE
    from gasang.kinds.vm.loader import load_kernel

    def prepare(progress: Progress) -> None:
        from gasang.accel.soft.clock import first_moment
        from gasang.cpus.riscv64.library import load as load_processor
        from gasang.host.memory import drop_code_pages

        with progress.step("compiling the processor"):
            load_processor()
            first_moment()
        drop_code_pages("libllvmlite")

    def make(parts: Parts[Any]) -> AnyMachine:
        from gasang.kinds.vm.machine import VirtualMachine

        return VirtualMachine(parts)

    def check_board(board: Mapping[str, Any], subject: str) -> None:
        from gasang.kinds.vm.machine import EXTENSIONS

        if sorted(board.get("extensions", ())) != sorted(EXTENSIONS):
            different = ", ".join(sorted({*board.get("extensions", ())} ^ {*EXTENSIONS})) or "nothing"
            raise BadInputError(subject, f"it is of another processor (different in {different})", "use the gasang that made it")

    def read(data: Content, name: str) -> Kernel:
        return load_kernel(data, name, RAM_BASE)

    return Platform(RISCV64, "riscv64", SOFT, RAM_BASE, "", read, prepare, make, check_board)


def _kvm_amd64() -> Platform:
    from gasang.kinds.vm.x86.kernel import load_pc_kernel

    def prepare(progress: Progress) -> None:
        """The processor is there; what serves the devices' queues may have to be compiled."""
        from gasang.devices.virtio.pump.pump import prepare as prepare_pump

        with progress.step("compiling the devices' loop"):
            prepare_pump()

    def make(parts: Parts[Any]) -> AnyMachine:
        from gasang.accel.kvm.system import Kvm
        from gasang.kinds.vm.x86.machine import NEEDED, PcMachine, PcParts

        placed = PcParts(
            parts.cpus, parts.memory, parts.kernel, parts.initrd, parts.append, parts.serial, (), parts.warn, parts.workers,
            pci=parts.virtio,
        )  # fmt: skip
        with Kvm() as kvm:
            kvm.require(NEEDED)
            return PcMachine(kvm, placed)

    def check_board(board: Mapping[str, Any], subject: str) -> None:
        """The processor is looked at when the state is loaded (x86/compatible.py)."""

    def read(data: Content, name: str) -> Kernel:
        return load_pc_kernel(bytes(data), name)

    return Platform(AMD64, "x86_64", KVM, 0, "console=ttyS0", read, prepare, make, check_board)


PLATFORMS: Final[Mapping[tuple[str, str], Callable[[], Platform]]] = {
    (RISCV64, SOFT): _soft_riscv64,
    (AMD64, KVM): _kvm_amd64,
}
"""(architecture, accelerator) → the platform."""


def platform_of(architecture: str) -> Platform:
    """The one of an architecture, whatever the host is like. Raises UnsupportedError where there is none."""
    for (name, _), make in PLATFORMS.items():
        if name == architecture:
            return make()
    raise UnsupportedError(f"architecture {architecture}", "there is no machine of it", f"choose {' or '.join(ARCHITECTURES)}")


def choose(architecture: str | None, accelerator: str | None, warn: Warn = lambda sentence: None) -> Platform:
    """The platform for what was asked for; None leaves it to the host. `warn` hears of one that is there, but slow.

    Raises UnsupportedError for an architecture that this host or that accelerator does not run, PermissionDeniedError where /dev/kvm is not
    for this user.
    """
    if architecture is not None:
        platform_of(architecture)
    if architecture is None and accelerator is None:
        return PLATFORMS[(AMD64, KVM) if _is_real() else (RISCV64, SOFT)]()
    if architecture is None:
        architecture = next(name for name, runs in PLATFORMS if runs == accelerator)
    if accelerator is None:
        accelerator = next((runs for name, runs in PLATFORMS if name == architecture), SOFT)
        named = False
    else:
        named = True
    if (architecture, accelerator) not in PLATFORMS:
        others = " or ".join(f"--arch {name}" for name, runs in PLATFORMS if runs == accelerator)
        cause = f"--accel {accelerator} runs no machine of it"
        raise UnsupportedError(f"architecture {architecture}", cause, f"use {others}, or leave one of the two out")
    if accelerator == KVM:
        _check_kvm(architecture, named, warn)
    return PLATFORMS[architecture, accelerator]()


def default_architecture() -> str:
    """The architecture of a machine that nobody names one for."""
    return AMD64 if _is_real() else RISCV64


def _is_real() -> bool:
    from gasang.accel.kvm.reality import Kind, reality

    return reality().kind is Kind.REAL


def _check_kvm(architecture: str, named: bool, warn: Warn) -> None:
    """Raise GasangError where /dev/kvm cannot run a machine, or would be too slow and was not `named`."""
    from gasang.accel.kvm.reality import Kind, reality

    found = reality()
    subject = f"a machine of {architecture}"
    if found.kind is Kind.EMULATED and named:
        warn(f"{subject}: {found.sentence()}; an operating system hardly starts at that speed")
    elif found.kind is Kind.FORBIDDEN:
        raise PermissionDeniedError(subject, found.sentence(), "join the group it belongs to (often kvm), or use --arch riscv64")
    elif found.kind is not Kind.REAL:
        more = ", or --accel kvm to have it all the same" if found.kind is Kind.EMULATED else ""
        raise UnsupportedError(subject, f"this host cannot run it ({found.sentence()})", f"use --arch riscv64{more}; see gasang doctor")
