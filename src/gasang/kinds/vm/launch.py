"""`gasang run` of a virtual machine: from a specification to an exit code, whatever its architecture (kinds/vm/platforms.py).

A machine started from an image speaks through the ports of one console device (kinds/vm/guest_ports.py).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.core.console import Console, WindowSize
from gasang.core.errors import BadInputError, MachineDiedError, UsageError
from gasang.core.progress import Progress
from gasang.core.protocols import Block, CharacterSink
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.worker import Holdable, Worker
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.extras import NOTHING, Extras
from gasang.kinds.vm.extras import attach as attach_extras
from gasang.kinds.vm.loader import Content, Kernel, kernel_architecture
from gasang.kinds.vm.parts import Parts
from gasang.kinds.vm.platforms import RISCV64, SOFT, Platform, choose
from gasang.kinds.vm.room import DEBIAN, check_room
from gasang.kinds.vm.warnings import Warnings

if TYPE_CHECKING:  # a kernel of the user's needs nothing of this, and a start has no time for it
    from gasang.accel.soft.jit.service import Launch
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.devices.virtio.block import VirtioBlock
    from gasang.images.control import ControlPort
    from gasang.images.initramfs import GuestSettings, Mode
    from gasang.images.origin import Origin
    from gasang.images.ready import BootFiles
    from gasang.kinds.vm.disks import Disk

DIED = 125
"""The machine ended without saying how the command did (as Docker's own failures)."""
DIED_HINT = "give it more --memory, or pull it again; --append 'loglevel=7' and -t show what its kernel says"
NO_AGENT = "the guest has no agent: its image is of an earlier gasang (gasang pull --again), or its kernel has no virtual sockets"
MINIMUM_MEMORY = 64 << 20
_WORTH_MAPPING = 1 << 20
"""Bytes of a file from which it is mapped instead of read."""
PANIC_ENDS = "panic=-1"
"""A kernel that panics resets its machine instead of waiting for somebody to see it (kernel-parameters.txt)."""


@dataclass(frozen=True)
class VmSpec:
    """What to run. `memory` in bytes; either `image` or `kernel` is given; an image that is not here comes from `origin`.

    `watch` meets the machine before it starts. Without `architecture` and `accelerator` kernel and host decide (platforms.choose).
    `sockets` is a folder for the guest's sockets (kinds/vm/sockets.py): a machine from an image has the guest agent then.
    """

    cpus: int
    memory: int
    kernel: Path | None
    initrd: Path | None
    append: str
    image: str | None
    command: tuple[str, ...]
    environment: tuple[str, ...]
    tty: bool
    disks: tuple[Disk, ...]
    origin: Origin | None = None
    watch: Callable[[AnyMachine], None] = lambda vm: None
    architecture: str | None = None
    accelerator: str | None = None
    jit: str = "off"
    compiler: Launch | None = None
    known_code: RegionStore | None = None
    sockets: Path | None = None
    extras: Extras = NOTHING


def run_vm(spec: VmSpec, console: Console, progress: Progress) -> int:
    """Run a machine until it powers off or the person leaves; the command's exit code, or the machine's own.

    Raises GasangError where it cannot be started.
    """
    if spec.memory < MINIMUM_MEMORY:
        hint = f"give at least --memory {MINIMUM_MEMORY >> 20}M"
        raise UsageError(f"{spec.memory >> 20} MiB of memory", "too little for a Linux kernel", hint)
    if spec.image is None:
        return _run_kernel(spec, console, progress)
    from gasang.kinds.vm.pull import boot_files

    platform = image_platform(spec.image, spec.architecture, spec.accelerator, _warnings(spec, console))
    files = boot_files(spec.image, progress, spec.origin, platform.architecture, inside=bool(spec.command))
    platform.prepare(progress)
    return _run_image(spec, files, console, platform)


def image_platform(image: str, architecture: str | None, accelerator: str | None, warn: Callable[[str], None]) -> Platform:
    """What is to run an image: what is asked for, and what imported disks are of. Raises what `choose` and imported.look raise."""
    from gasang.storage.shelf import user_shelf

    if architecture is None and user_shelf().disk(image) is not None:
        from gasang.kinds.vm.imported import known_architecture

        architecture = known_architecture(image)
    return choose(architecture, accelerator, warn)


def _check_jit(spec: VmSpec, platform: Platform) -> None:
    """Raise UsageError where nothing would be compiled."""
    if spec.jit != "off" and platform.accelerator != SOFT:
        raise UsageError("option --jit", f"the machine runs on {platform.accelerator}, not on the software processor", "add --accel soft")


def read_given(path: Path, what: str) -> bytes:
    """A file that somebody named. Raises BadInputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{what} {path}", f"it cannot be read ({error.strerror})", "check the path") from error


def map_given(path: Path, what: str) -> Content:
    """As `read_given`, without a copy of what is large where the host can map it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size >= _WORTH_MAPPING:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError:
        pass  # it cannot be mapped, or not be read either
    return read_given(path, what)


def _unpacked(initrd: bytes, path: Path) -> int:
    """Bytes of the files in an initrd. Raises BadInputError where no kernel could unpack it."""
    from gasang.images.initrd import unpacked_size

    return unpacked_size(initrd, str(path))


def _warnings(spec: VmSpec, console: Console) -> Warnings:
    return Warnings(console.write_error, "\r\n" if spec.tty else "\n")


def _disks(spec: VmSpec, worker: Worker, warn: Warnings, cleanup: ExitStack) -> tuple[list[VirtioBlock], list[Worker]]:
    """The user's own, and who serves the slow ones; `cleanup` closes the disks."""
    if not spec.disks:
        return [], []
    from gasang.kinds.vm.disks import attach

    return attach(spec.disks, worker, warn, cleanup)


def kernel_platform(kernel: Content, architecture: str | None, accelerator: str | None, warn: Callable[[str], None]) -> Platform:
    """What is to run `kernel`. What is none is refused by whoever needs no look at the host for that. Raises what `choose` raises."""
    return choose(architecture or kernel_architecture(kernel) or (RISCV64 if accelerator is None else None), accelerator, warn)


def _run_kernel(spec: VmSpec, console: Console, progress: Progress) -> int:
    """A kernel of the user's: its serial line is the console. What is wrong with the files is told before anything is compiled."""
    assert spec.kernel is not None
    data = map_given(spec.kernel, "kernel")
    warn = _warnings(spec, console)
    platform = kernel_platform(data, spec.architecture, spec.accelerator, warn)
    _check_jit(spec, platform)
    kernel = platform.load_kernel(data, str(spec.kernel))
    initrd = read_given(spec.initrd, "initrd") if spec.initrd is not None else b""
    unpacked = _unpacked(initrd, spec.initrd) if spec.initrd is not None else 0
    check_room(spec.memory, kernel, platform.ram_base, initrd, unpacked, 0, f"kernel {spec.kernel}")
    append = spec.append or "console=ttyS0"
    platform.prepare(progress)
    loaded = _Loaded(kernel, initrd, append)
    del data, kernel, initrd
    return _live_on_serial(spec, platform, loaded, console)


@dataclass
class _Loaded:
    """A kernel with its initrd and command line; `disk` comes before the user's own, if there is one."""

    kernel: Kernel | None
    initrd: bytes
    append: str
    disk: Block | None = None

    def given(self) -> tuple[Kernel | None, bytes]:
        """Kernel and initrd, which are let go of: the guest will have its copy."""
        kernel, initrd = self.kernel, self.initrd
        self.kernel, self.initrd = None, b""
        return kernel, initrd


def _parts(
    spec: VmSpec,
    loaded: _Loaded,
    serial: CharacterSink,
    virtio: Sequence[VirtioDevice],
    warn: Callable[[str], None],
    workers: Sequence[Holdable],
) -> Parts[Kernel]:
    """What the machine is made of; `loaded` has nothing more."""
    (kernel, initrd), append = loaded.given(), loaded.append
    code = spec.jit, spec.compiler, spec.known_code
    return Parts(spec.cpus, spec.memory, kernel, initrd, append, serial, virtio, warn, workers, *code)


def boot_own(spec: VmSpec, files: BootFiles, disk: Block, console: Console, platform: Platform) -> int:
    """Boot what is on an imported disk, as it is; the machine's own exit code. Raises GasangError where it cannot be started."""
    _check_jit(spec, platform)
    subject = f"disk {spec.image}"
    if spec.extras.folders or spec.extras.volumes or spec.environment:
        cause = "what runs in it is its own, which mounts nothing of the host's and gets no variables"
        raise UsageError(subject, cause, "give it a command, or leave --volume, --mount and --env out")
    kernel = platform.load_kernel(map_given(files.kernel, "kernel"), str(files.kernel))
    initrd = read_given(files.initrd, "initrd")
    check_room(spec.memory, kernel, platform.ram_base, initrd, _unpacked(initrd, files.initrd) if initrd else 0, DEBIAN, subject)
    append = " ".join(filter(None, (files.append, PANIC_ENDS, spec.append)))
    loaded = _Loaded(kernel, initrd, append, disk)
    del kernel, initrd
    return _live_on_serial(spec, platform, loaded, console)


def _live_on_serial(spec: VmSpec, platform: Platform, loaded: _Loaded, console: Console) -> int:
    """A machine whose serial line is the console, from start to end; its own exit code."""
    warn = _warnings(spec, console)
    (kernel, initrd), append = loaded.given(), loaded.append
    worker = Worker("disk")
    with ExitStack() as cleanup:
        extras, more = attach_extras(Extras(network=spec.extras.network), spec.memory, spec.cpus, cleanup, warn)
        disks, slow = _disks(spec, worker, warn, cleanup)
        if loaded.disk is not None:
            from gasang.devices.virtio.block import VirtioBlock  # most have none
            from gasang.kinds.vm.disks import about

            disks.insert(0, VirtioBlock(loaded.disk, worker, on_error=about(f"disk {spec.image}", warn)))
        virtio: list[VirtioDevice] = [*disks, VirtioRng(), *extras]
        workers = (worker, *slow, *more)
        parts = _parts(spec, _Loaded(kernel, initrd, append), console.write, virtio, warn, workers)
        vm = cleanup.enter_context(platform.make(parts))
        for each in (worker, *slow):
            cleanup.callback(each.close)
        del kernel, initrd, parts  # the guest has its copy
        vm.machine.ram.memory.advise(huge=spec.extras.huge_pages)
        spec.watch(vm)
        lock = vm.board.bus.lock

        def typed(data: bytes) -> None:
            with lock:
                vm.board.serial.receive(data)

        _live(vm, console, typed)
    return power_code(vm.power)


def _run_image(spec: VmSpec, files: BootFiles, console: Console, platform: Platform) -> int:
    """An image: the disk is shared and never changed, what the guest writes is gone with it."""
    from gasang.images.control import ControlPort
    from gasang.images.initramfs import GuestSettings
    from gasang.kinds.vm.disks import throw_away

    if files.own:
        with closing(throw_away(files.disk)) as disk:
            return boot_own(spec, files, disk, console, platform)
    settings = GuestSettings(
        mode_of(files, spec.command, f"image {spec.image}"), spec.command, _environment(spec),
        tty=spec.tty, process=files.process, root=files.root, **spec.extras.settings(),
    )  # fmt: skip
    control = ControlPort(lambda stage: None)
    with closing(throw_away(files.disk)) as disk:
        code = boot_guest(spec, files, disk, settings, console, control, platform)
    if control.error:
        raise BadInputError(f"image {spec.image}", control.error, "pull it again")
    return control.code if control.code is not None else code


def boot_guest(
    spec: VmSpec,
    files: BootFiles,
    disk: Block,
    settings: GuestSettings,
    console: Console,
    control: ControlPort,
    platform: Platform | None = None,
) -> int:
    """Boot an image's kernel over `disk` with guest/init doing what `settings` say; the machine's own exit code.

    `platform` is chosen by `spec` where it is not given.

    Raises LostGuestError where the guest can never go on; its last words have been shown then. Raises MachineDiedError where the
    machine ends before that is done, unless the person has left or a shell was told to switch it off.
    """
    from gasang.devices.virtio.block import VirtioBlock
    from gasang.images.initramfs import overlay
    from gasang.kinds.vm.disks import about
    from gasang.kinds.vm.guest_ports import GuestPorts
    from gasang.kinds.vm.sockets import offered

    # Where the command has ports of its own, what the kernel says on its console is no part of its output; it is told if the machine dies.
    speaks = settings.tty or settings.mode == "shell"
    ports = GuestPorts(console, control, speaks=speaks)
    warn = _warnings(spec, console)
    platform = platform or choose(spec.architecture, spec.accelerator, warn)
    _check_jit(spec, platform)
    kernel = platform.load_kernel(map_given(files.kernel, "kernel"), str(files.kernel))
    stored = read_given(files.initrd, "initrd")
    initrd = stored + overlay(settings, _agent(spec, settings, platform), serves=spec.sockets is not None)
    check_room(spec.memory, kernel, platform.ram_base, initrd, _unpacked(stored, files.initrd), DEBIAN, f"image {spec.image}")
    append = " ".join(filter(None, (platform.append, files.append, PANIC_ENDS, spec.append)))
    worker = Worker("disk")
    with ExitStack() as cleanup:
        root = VirtioBlock(disk, worker, on_error=about(f"disk of image {spec.image}", warn))
        extras, more = attach_extras(spec.extras, spec.memory, spec.cpus, cleanup, warn)
        disks, slow = _disks(spec, worker, warn, cleanup)
        virtio: list[VirtioDevice] = [ports.device, root, VirtioRng(), *disks, *extras]
        virtio += offered(spec.sockets, f"image {spec.image}", cleanup)
        control.on_no_agent = partial(warn, NO_AGENT)
        workers = (worker, *slow, *more)
        parts = _parts(spec, _Loaded(kernel, initrd, append), ports.chatter.take, virtio, warn, workers)
        vm = cleanup.enter_context(platform.make(parts))
        for each in (worker, *slow):
            cleanup.callback(each.close)
        del kernel, initrd, stored, parts  # the guest has its copy
        vm.machine.ram.memory.advise(huge=spec.extras.huge_pages)
        spec.watch(vm)
        try:
            _live(vm, console, ports.typed, ports.resized)
        finally:
            if vm.power is None and control.code is None and not speaks:
                console.write_error(ports.chatter.text())
    if vm.power is not None and control.code is None and not control.error and not (speaks and vm.power.action is PowerAction.OFF):
        raise MachineDiedError(f"image {spec.image}", f"its machine ended too early{ports.chatter.panic()}", DIED_HINT)
    return power_code(vm.power)


def mode_of(files: BootFiles, command: tuple[str, ...], subject: str) -> Mode:
    """What guest/init is to do. Raises UsageError for an image that is for a process and does not say which."""
    process = files.process
    if process is not None and not (command or process.entrypoint or process.command):
        raise UsageError(subject, "it names no command", "give one behind it")
    return "command" if command or process else "shell"


def _agent(spec: VmSpec, settings: GuestSettings, platform: Platform) -> bytes:
    """The guest agent's program, where it can be reached or is what starts the command."""
    if spec.sockets is None and settings.process is None:
        return b""
    from gasang.kinds.vm.agent.executable import agent_program

    return agent_program(platform.family)


def _environment(spec: VmSpec) -> tuple[str, ...]:
    import os

    return (*((f"TERM={os.environ.get('TERM', 'linux')}",) if spec.tty else ()), *spec.environment)


def _live(vm: AnyMachine, console: Console, typed: Callable[[bytes], None], resized: Callable[[WindowSize], None] | None = None) -> None:
    """From start to end, the console connected."""
    try:
        console.on_quit(vm.stop)
        vm.start()
        console.on_input(typed)
        if resized is not None:
            console.on_resize(resized)
        vm.join()
    finally:
        vm.stop()
        vm.wait_for_harts()


def power_code(request: PowerRequest | None) -> int:
    """A kernel's own power-off is success; a failure code is passed on; an end from outside is 125."""
    if request is None:
        return DIED
    return min(request.code, 255) if request.action is PowerAction.FAIL else 0
