"""How a machine of given settings comes to be: booted from an image or a kernel, or gone on with from a snapshot. Each runs to its end.

An image's disk is kept in the machine's folder (storage/chain.py); which disk it is of is noted beside, as the image may be pulled anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.core.errors import BadInputError, NotFoundError
from gasang.core.progress import Silent
from gasang.core.protocols import Block
from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.devices.virtio.net import VirtioNet
from gasang.devices.virtio.vsock import VirtioVsock
from gasang.images.control import ControlPort
from gasang.images.image_process import document_of, read_process
from gasang.images.initramfs import GuestSettings
from gasang.images.ready import ROOT, BootFiles
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.disks import of_document
from gasang.kinds.vm.extras import Extras
from gasang.kinds.vm.folders import SharedFolder
from gasang.kinds.vm.launch import VmSpec, boot_guest, boot_own, image_platform, mode_of, power_code, run_vm
from gasang.kinds.vm.network import Network
from gasang.kinds.vm.platforms import Platform, platform_of
from gasang.kinds.vm.process import bases
from gasang.kinds.vm.process.console import SupervisedConsole
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.snapshot.disks import IDENTITY
from gasang.kinds.vm.snapshot.folder import DISK
from gasang.kinds.vm.snapshot.guest import restored_guest, restored_kernel
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.storage.chain import Chain, adopt
from gasang.storage.raw import Raw

if TYPE_CHECKING:  # a machine has no time for what it does not need
    from gasang.accel.soft.jit.service import Launch
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.kinds.vm.volumes import AttachedVolume

LAYERS: Final = "disk"
"""The folder of a machine's own layers, in the machine's."""
FILES: Final = "boot.json"
"""Which files a machine was booted from, in the machine's folder."""
NO_CARD: Final = Card("02:00:00:00:00:01")
"""Of a machine that is in no network any more: nothing is plugged into it."""
DEFAULT_HOSTNAME: Final = GuestSettings().hostname


@dataclass(frozen=True)
class Birth:
    """What each way needs: the machine's folder and settings, its console, what its guest tells of, and who meets it before it starts.

    `tap` is the descriptor of what its network card is plugged into, if it has one.
    """

    folder: Path
    settings: MachineSettings
    console: SupervisedConsole
    control: ControlPort
    meet: Callable[[AnyMachine], None]
    tap: int = -1
    stands: bool = False
    """A restored one waits for being forked, and never begins itself."""
    compiler: Launch | None = None
    """What compiles hot code, in a jail too."""
    known_code: RegionStore | None = None
    """What others have compiled of it."""

    def warn(self, sentence: str) -> None:
        """Tell of what goes wrong in the machine without ending it."""
        self.console.write_error(f"gasang: {sentence}\n".encode("utf-8", "backslashreplace"))


def live(birth: Birth) -> int:
    """Make the machine and stay until it has ended; the exit code that it gives. Raises GasangError, OSError."""
    if birth.settings.snapshot:
        return _restored(birth)
    return _image(birth) if birth.settings.image else run_vm(_spec(birth), birth.console, Silent())


def _spec(birth: Birth) -> VmSpec:
    settings = birth.settings
    return VmSpec(
        cpus=settings.cpus,
        memory=settings.memory,
        kernel=Path(settings.kernel) if settings.kernel else None,
        initrd=Path(settings.initrd) if settings.initrd else None,
        append=settings.append,
        image=settings.image or None,
        command=settings.command,
        environment=settings.environment,
        tty=settings.tty,
        disks=tuple(map(of_document, settings.disks)),
        watch=birth.meet,
        sockets=birth.folder if settings.image else None,
        architecture=settings.architecture or None,
        accelerator=settings.accelerator or None,
        jit=settings.jit or "off",
        compiler=birth.compiler,
        known_code=birth.known_code,
        extras=_extras(birth),
    )


def _extras(birth: Birth, *, balloon: bool = True, network: Network | None = None) -> Extras:
    """What a machine from an image has besides: folders of the host, a network card, and a balloon that gives memory back."""
    settings = birth.settings
    if settings.network is not None and not settings.snapshot:
        network = Network(settings.network, tap=birth.tap)
    folders = tuple(SharedFolder(Path(source), target, read_only) for source, target, read_only in settings.folders)
    return Extras(folders, network, balloon=balloon and bool(settings.image), huge_pages=settings.huge_pages, volumes=_volumes(settings))


def _volumes(settings: MachineSettings) -> tuple[AttachedVolume, ...]:
    if not settings.volumes:
        return ()
    from gasang.kinds.vm.volumes import AttachedVolume

    return tuple(AttachedVolume(Path(folder), target, read_only) for folder, target, read_only in settings.volumes)


def _image(birth: Birth) -> int:
    settings = birth.settings
    platform = image_platform(settings.image, settings.architecture or None, settings.accelerator or None, birth.warn)
    files = boot_files_of(birth.folder, settings, platform)
    platform.prepare(Silent())
    if files.own:
        with closing(own_disk(files.disk, birth.folder)) as disk:
            return boot_own(_spec(birth), files, disk, birth.console, platform)
    terminal = ("TERM=xterm",) if settings.tty else ()
    guest = GuestSettings(
        mode_of(files, settings.command, f"image {settings.image}"),
        settings.command,
        (*terminal, *settings.environment),
        hostname=settings.hostname or DEFAULT_HOSTNAME,
        tty=settings.tty,
        process=files.process,
        root=files.root,
        **_extras(birth).settings(),
    )
    with closing(own_disk(files.disk, birth.folder)) as disk:
        code = boot_guest(_spec(birth), files, disk, guest, birth.console, birth.control, platform)
    if birth.control.error:
        raise BadInputError(f"image {settings.image}", birth.control.error, "pull it again")
    return code if birth.control.code is None else birth.control.code


def boot_files_of(folder: Path, settings: MachineSettings, platform: Platform) -> BootFiles:
    """Those that a machine has booted from before, or those of its image. Raises what `boot_files` raises."""
    note = folder / FILES
    if note.exists():
        kept = noted_files(note)
        if all(path.exists() for path in (kept.kernel, kept.initrd, kept.disk)):
            bases.check(kept, f"image {settings.image}")
            return kept
        raise NotFoundError(f"image {settings.image}", "the files that the machine was booted from are gone", "make the machine anew")
    from gasang.kinds.vm.pull import boot_files

    place = bases.folder_of(folder)
    with bases.pinning(place):
        found = boot_files(settings.image, Silent(), architecture=platform.architecture, inside=bool(settings.command))
        files = bases.pin(found, place)
        note_files(note, files)
    return files


def note_files(note: Path, files: BootFiles) -> None:
    """Keep what a machine boots from. Raises OSError."""
    paths = (str(files.kernel), str(files.initrd), str(files.disk))
    note.write_text(json.dumps([*paths, files.append, document_of(files.process), files.root, files.own]))


def _has_process(birth: Birth) -> bool:
    """Whether a machine that has booted before had something to run but a shell, as its image says."""
    note = birth.folder / FILES
    return note.exists() and noted_files(note).process is not None


def boots_itself(folder: Path) -> bool:
    """Whether the machine of a folder, which has booted before, did so as its imported disk says."""
    note = folder / FILES
    return note.exists() and noted_files(note).own


def noted_files(note: Path) -> BootFiles:
    """What a machine was booted from, as its note says. Raises BadInputError."""
    try:
        kernel, initrd, disk, append, process, *more = json.loads(note.read_text())
        root, own = more or (ROOT, False)  # notes of before disks were imported
        ran = read_process(process, f"note {note}")
        return BootFiles(Path(kernel), Path(initrd), Path(disk), str(append), ran, str(root), own is True)
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(f"note {note}", f"it is damaged ({error})", "make the machine anew") from error


def own_disk(base: Path, folder: Path) -> Chain:
    """The disk of the machine in a folder. Raises StateError while it runs, BadInputError, OSError."""
    raw = Raw.open(base, read_only=True)
    try:
        return Chain.open_folder(raw, folder / LAYERS, IDENTITY)
    except BaseException:
        raw.close()
        raise


def _restored(birth: Birth) -> int:
    settings = birth.settings
    snapshot = Snapshot.open(Path(settings.snapshot))
    snapshot.check()
    platform_of(snapshot.document.architecture).prepare(Silent())
    had = snapshot.document.board["virtio"]
    with ExitStack() as cleanup:
        if settings.image and not boots_itself(birth.folder):
            vm, ports = cleanup.enter_context(
                restored_guest(
                    snapshot,
                    birth.console,
                    birth.control,
                    speaks=settings.tty or not (settings.command or _has_process(birth)),
                    sockets=birth.folder if VirtioVsock.device_id in had else None,
                    extras=_extras(birth, balloon=VirtioBalloon.device_id in had, network=_restored_card(settings, had)),
                    blocks=_restored_disks(birth, snapshot),
                )
            )
            typed: Callable[[bytes], None] = ports.typed
            birth.console.on_resize(ports.resized)
        else:
            blocks = _restored_disks(birth, snapshot) if settings.image else None
            extras = Extras(network=_restored_card(settings, had))
            vm, typed = cleanup.enter_context(restored_kernel(snapshot, birth.console, blocks=blocks, extras=extras))
        if birth.stands:
            snapshot.make_ready(vm)
            vm.stand()
            _stay(birth, vm, typed)
        else:
            birth.meet(vm)
            run(vm, birth.console, typed)
    return code_of(vm, birth.control)


def _restored_card(settings: MachineSettings, had: Collection[int]) -> Network | None:
    """The card that a restored machine had, which is plugged in when its guest knows who it is now."""
    return Network(settings.network or NO_CARD, plugged=False) if VirtioNet.device_id in had else None


def _restored_disks(birth: Birth, snapshot: Snapshot) -> list[Block]:
    """The snapshot's disks, of which the first is the machine's own from now on."""
    first, *_ = snapshot.document.disks
    blocks = snapshot.open_disks()
    if first.path and first.layer:
        blocks[0].close()
        _replace_layers(birth.folder, snapshot.path / f"{DISK}{first.layer}")
        blocks[0] = own_disk(Path(first.path), birth.folder)
    return blocks


def _replace_layers(folder: Path, saved: Path) -> None:
    """The machine's layers are what was saved; those it had go when the others are there. Raises OSError, and it has its own then."""
    adopt(saved, coming_layers(folder))
    put_in_place(folder)
    remove_former_layers(folder)


def coming_layers(folder: Path) -> Path:
    """Where the layers are made that a machine is to have instead of its own; nothing is there."""
    remove_former_layers(folder)
    coming = folder / f"{LAYERS}.new"
    shutil.rmtree(coming, ignore_errors=True)
    return coming


def remove_former_layers(folder: Path) -> None:
    """Those that a machine had before `put_in_place`."""
    shutil.rmtree(folder / f"{LAYERS}.old", ignore_errors=True)


def put_in_place(folder: Path) -> None:
    """Give a machine the layers that were made for it. Raises OSError, and it has its own then."""
    present, coming, going = (folder / f"{LAYERS}{end}" for end in ("", ".new", ".old"))
    if present.exists():
        present.rename(going)
    coming.rename(present)


def _stay(birth: Birth, vm: AnyMachine, typed: Callable[[bytes], None] | None) -> None:
    """Until it is not wanted any more. It is met when it knows where to go with what is typed: its forks are to know that, too."""
    birth.console.on_quit(vm.stop)
    if typed is not None:
        birth.console.on_input(typed)
    birth.meet(vm)
    vm.join()


def run(vm: AnyMachine, console: SupervisedConsole, typed: Callable[[bytes], None] | None = None) -> None:
    """From start to end. Raises what ended it by accident."""
    with running(vm, console, typed):
        pass


@contextmanager
def running(vm: AnyMachine, console: SupervisedConsole, typed: Callable[[bytes], None] | None = None) -> Iterator[None]:
    """It runs from the start of the block on; the block's end waits for its own. Raises what ended it by accident."""
    try:
        console.on_quit(vm.stop)
        vm.start()
        if typed is not None:
            console.on_input(typed)
        yield
        vm.join()
    finally:
        vm.stop()
        vm.wait_for_harts()


def code_of(vm: AnyMachine, control: ControlPort) -> int:
    """The exit code of a machine that has ended: its command's, or how it was switched off."""
    return power_code(vm.power) if control.code is None else control.code
