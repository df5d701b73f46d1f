"""``gasang image import`` and ``export`` of disks and appliances. An archive of files is imported as docker does it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.cli.containers.family import Commands, Local
from gasang.cli.disks import ALLOW, FORCE, FORM, JSON, KEY_FILE, OPTION, TO, form_for, open_named, options_of
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch, value
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.cli.verbs import import_
from gasang.core.config import parse_cpus, parse_memory
from gasang.core.errors import StateError, UsageError
from gasang.core.paths import cache_folder, data_folder
from gasang.core.units import format_size

if TYPE_CHECKING:
    from gasang.storage.appliance.ovf import Appliance
    from gasang.storage.images.image import Image
    from gasang.storage.shelf import Shelf

PACKAGES: Final = (".ova", ".ovf")
CPUS: Final = value("cpus", "N", "processors of an appliance", parse_cpus)
MEMORY: Final = value("memory", "SIZE", "memory of an appliance", parse_memory, short="m")
OVA: Final = switch("ova", "as an appliance, whatever the file's suffix")
_CPUS, _MEMORY = 1, 1 << 30


def shelf() -> Shelf:
    """The user's named disks."""
    from gasang.storage.shelf import Shelf

    return Shelf(data_folder(os.environ) / "disks")


def _is_disk(parsed: Parsed, source: str) -> bool:
    """Whether it is a disk, and no archive of a container's files. Raises what `probed` raises."""
    from gasang.storage.formats import REMOTE
    from gasang.storage.images.table import by_suffix, probed

    path = Path(source)
    if parsed.get(FORM) or source.startswith(REMOTE) or path.suffix.lower() in PACKAGES or by_suffix(path) is not None:
        return True
    return path.exists() and path.is_file() and probed(path).name != "raw"


def _import(parsed: Parsed, context: Context) -> int:
    source, *names = parsed.arguments
    if source == "-" or not _is_disk(parsed, source):
        return import_.run(parsed, context)
    from gasang.storage.images.conversion import convert
    from gasang.storage.images.table import create_image
    from gasang.storage.shelf import describe

    name = names[0] if names else Path(source.partition("?")[0]).stem
    with ExitStack() as cleanup, shelf().adding(name) as folder:
        machine, images = _machine(parsed, source, cleanup)
        progress = cleanup.enter_context(open_progress(context))
        for number, image in enumerate(images):
            with (
                progress.step(f"importing {source}", image.size, "bytes") as step,
                closing(create_image(folder / f"disk{number}.qcow2", "qcow2", image.size)) as made,
            ):
                convert(image, made, told=step.advance)
        describe(folder, machine, len(images))
    told = {
        "name": name,
        "disks": [str(shelf().root / name / f"disk{number}.qcow2") for number in range(len(images))],
        "cpus": machine.cpus,
        "memory": machine.memory,
        "cards": list(machine.cards),
    }
    if parsed.get(JSON):
        print(json.dumps(told, indent=2))
        return 0
    print(f"{name}: {len(images)} disks, {machine.cpus} processors, {format_size(machine.memory)} of memory, {len(machine.cards)} cards")
    print(f"gasang run --vm --cpus {machine.cpus} --memory {machine.memory >> 20}M --disk {name} …")
    return 0


def _machine(parsed: Parsed, source: str, cleanup: ExitStack) -> tuple[Appliance, list[Image]]:
    """The machine of a package, or one around a single disk; and its open disks."""
    from gasang.storage.appliance.ovf import Appliance, ApplianceDisk
    from gasang.storage.appliance.package import open_package
    from gasang.storage.formats import REMOTE
    from gasang.storage.remote import open_store

    if Path(source).suffix.lower() not in PACKAGES:
        image = _open(parsed, source, cleanup)
        return Appliance(Path(source).stem, _CPUS, _MEMORY, (ApplianceDisk("", image.size),)), [image]
    store = open_store(source, read_only=True) if source.startswith(REMOTE) else None
    package = cleanup.enter_context(closing(open_package(Path(source), store)))
    images = [cleanup.enter_context(closing(package.disk(disk))) for disk in package.appliance.disks if disk.file]
    return package.appliance, images


def _open(parsed: Parsed, source: str, cleanup: ExitStack) -> Image:
    return cleanup.enter_context(closing(open_named(parsed, source, form=parsed.get(FORM), key_file=parsed.get(KEY_FILE))))


def _export(parsed: Parsed, context: Context) -> int:
    from gasang.storage.appliance.ovf import Appliance, ApplianceDisk
    from gasang.storage.appliance.package import write_archive

    source, new = parsed.arguments
    path = Path(new)
    if path.exists() and not parsed.get(FORCE):
        raise StateError(f"file {new}", "it is there already", "remove it, or say --force")
    packed = parsed.get(OVA) or path.suffix.lower() == ".ova"
    if path.suffix.lower() == ".ovf":
        raise UsageError(f"file {new}", "an appliance is written as one file", "name it .ova")
    with ExitStack() as cleanup, open_progress(context) as progress:
        settings, images = _exported(parsed, source, context, cleanup)
        if path.exists() and any(path.samefile(each) for each in [Path(source)] if each.exists()):
            raise UsageError(f"file {new}", "it is the one to export", "name another file")
        if not packed:
            with progress.step(f"exporting {source}", images[0].size, "bytes") as step:
                _convert(parsed, path, images, step.advance)
            return 0
        disks = tuple(ApplianceDisk(f"{path.stem}-disk{number}.vmdk", image.size) for number, image in enumerate(images))
        cpus, memory = parsed.get(CPUS) or settings.cpus, parsed.get(MEMORY) or settings.memory
        machine = Appliance(path.stem, cpus or _CPUS, memory or _MEMORY, disks, settings.cards)
        with progress.step(f"exporting {source}", sum(image.size for image in images), "bytes") as step:
            write_archive(path, machine, images, step.advance)
    return 0


def _convert(parsed: Parsed, path: Path, images: list[Image], told: object) -> None:
    from gasang.storage.images.conversion import convert
    from gasang.storage.images.table import create_image, remove_image

    if len(images) > 1:
        raise UsageError(f"file {path}", f"there are {len(images)} disks", "export them as .ova, or one of them: NAME/NUMBER")
    assert callable(told)
    target = create_image(path, form_for(parsed, path), images[0].size, options_of(parsed))
    try:
        convert(images[0], target, told=told)
        target.close()
    except BaseException:
        remove_image(path, target)
        raise


def _exported(parsed: Parsed, source: str, context: Context, cleanup: ExitStack) -> tuple[Appliance, list[Image]]:
    """A disk's file or address, imported disks, or an image that machines are started from."""
    from gasang.storage.appliance.ovf import Appliance
    from gasang.storage.formats import REMOTE
    from gasang.storage.images.table import open_image

    plain = Appliance(Path(source).stem, 0, 0, (), ("nat",))
    if source.startswith(REMOTE) or Path(source).exists():
        return plain, [_open(parsed, source, cleanup)]
    kept = shelf()
    if (only := kept.disk(source)) is not None and "/" in source:
        return plain, [cleanup.enter_context(closing(open_image(only, read_only=True, form="qcow2")))]
    if only is not None:
        machine, count = kept.machine(source)
        files = [kept.disk(f"{source}/{number}") for number in range(count)]
        return machine, [
            cleanup.enter_context(closing(open_image(file, read_only=True, form="qcow2"))) for file in files if file is not None
        ]
    with _machine_image(source, context) as path:
        return plain, [cleanup.enter_context(closing(open_image(path, read_only=True, form="raw")))]


@contextmanager
def _machine_image(reference: str, context: Context) -> Iterator[Path]:
    """The disk of an image of the store, unpacked. Raises NotFoundError, GasangError."""
    from gasang.images.ready import ready_files
    from gasang.images.reference import parse_reference
    from gasang.kinds.vm.pull import open_store

    store = open_store()
    with open_progress(context) as progress:
        yield ready_files(store, cache_folder(os.environ), store.resolve(str(parse_reference(reference))), progress).disk


COMMANDS: Final[Commands] = {
    "import": Local(
        Syntax(
            "Take in a disk image or an appliance under a name; or make a container image of an archive of files.",
            (FORM, KEY_FILE, ALLOW, JSON, *import_.SYNTAX.options),
            (
                Argument("FILE|URL", "a disk image, an .ova or .ovf, or a tar archive; - for one on standard input", completes="files"),
                Argument("NAME", "what to call it; else the file's own name", required=False),
            ),
            examples=(
                Example("gasang image import windows.vmdk", "then: gasang run --vm --kernel … --disk windows"),
                Example("gasang image import appliance.ova web", "its disks, and what machine it was"),
                Example("gasang image import http://server/cloud.qcow2 cloud", "without downloading it first"),
                Example("gasang image import root.tar.gz tiny:1", "a container image, as gasang import makes it"),
            ),
            notes="Disks become qcow2 images of their own. The manifest of an appliance is verified, and nothing of it is unpacked.",
        ),
        _import,
    ),
    "export": Local(
        Syntax(
            "Write a disk, imported disks or a machine's image as a disk image or an appliance.",
            (OVA, CPUS, MEMORY, FORM, TO, OPTION, KEY_FILE, FORCE, ALLOW),
            (
                Argument("WHAT", "a disk image, a name that was imported, or an image of machines", completes="files"),
                Argument("NEW", "the file to make; its suffix names the format, .ova an appliance", completes="files"),
            ),
            examples=(
                Example("gasang image export web web.ova", "for VirtualBox, VMware and others"),
                Example("gasang image export --cpus 4 --memory 8G disk.qcow2 web.ova", "a machine around a disk"),
                Example("gasang image export debian:trixie debian.vhdx", "the disk of an image"),
            ),
        ),
        _export,
    ),
}
