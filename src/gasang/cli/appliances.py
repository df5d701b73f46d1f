"""``gasang image import`` and ``export`` of disks and appliances. An archive of files is imported as docker does it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.cli.containers.family import Commands, Local
from gasang.cli.disks import ALLOW, FORCE, FORM, HEADER, JSON, KEY_FILE, OPTION, TO, as_json, form_for, open_named, options_of
from gasang.cli.options import Argument, Example, Parsed, Syntax, switch, value
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.cli.verbs.import_ import OPTIONS as OF_ARCHIVES
from gasang.core.config import parse_cpus, parse_memory
from gasang.core.errors import GasangError, StateError, UsageError
from gasang.core.paths import cache_folder
from gasang.core.units import counted, format_size
from gasang.host.block_devices import is_block_device, users

if TYPE_CHECKING:
    from gasang.core.progress import Progress
    from gasang.storage.appliance.ovf import Appliance
    from gasang.storage.images.image import Image

PACKAGES: Final = (".ova", ".ovf")
CPUS: Final = value("cpus", "N", "processors of an appliance", parse_cpus)
MEMORY: Final = value("memory", "SIZE", "memory of an appliance", parse_memory, short="m")
MOUNTED: Final = switch("force", "read a device of this host even if it is mounted writable", short="f")
OVA: Final = switch("ova", "as an appliance, whatever the file's suffix")
_CPUS, _MEMORY = 1, 1 << 30


def sweep() -> None:
    """Remove what killed imports have left, and what was found on disks that are not here any more."""
    from gasang.kinds.vm.imported import sweep as sweep_found
    from gasang.storage.shelf import user_shelf

    user_shelf().sweep()
    sweep_found()


def _is_disk(parsed: Parsed, source: str) -> bool:
    """Whether it is a disk, and no archive of a container's files. Raises what `probed` raises."""
    from gasang.storage.formats import REMOTE
    from gasang.storage.images.table import by_suffix, probed

    path = Path(source)
    if is_block_device(path):
        return True
    if parsed.get(FORM) or source.startswith(REMOTE) or path.suffix.lower() in PACKAGES or by_suffix(path) is not None:
        return True
    return path.exists() and path.is_file() and probed(path).name != "raw"


def _import(parsed: Parsed, context: Context) -> int:
    source, *names = parsed.arguments
    if source == "-" or not _is_disk(parsed, source):
        from gasang.cli.verbs.import_ import run

        return run(parsed, context)
    from gasang.storage.images.conversion import convert
    from gasang.storage.images.table import create_image
    from gasang.storage.shelf import describe, user_shelf
    from gasang.storage.web import PartsError

    name = names[0] if names else Path(source.partition("?")[0]).stem
    if is_block_device(Path(source)) and not parsed.get(MOUNTED):
        _check_device(Path(source))
    with ExitStack() as cleanup, user_shelf().adding(name) as folder:
        progress = cleanup.enter_context(open_progress(context))
        try:
            machine, images = _machine(parsed, source, cleanup)
        except PartsError:
            machine, images = _machine(parsed, _downloaded(source, folder, progress, cleanup), cleanup)
        for number, image in enumerate(images):
            with (
                progress.step(f"importing {source}", image.size, "bytes") as step,
                closing(create_image(folder / f"disk{number}.raw", "raw", image.size)) as made,
            ):
                convert(image, made, told=step.advance)
        describe(folder, machine, len(images))
    told = {
        "name": name,
        "disks": [str(user_shelf().root / name / f"disk{number}.raw") for number in range(len(images))],
        "cpus": machine.cpus,
        "memory": machine.memory,
        "cards": list(machine.cards),
    }
    if parsed.get(JSON):
        print(as_json(told, 2))
        return 0
    disks, cpus, cards = counted(len(images), "disk"), counted(machine.cpus, "processor"), counted(len(machine.cards), "card")
    print(f"{name}: {disks}, {cpus}, {format_size(machine.memory)} of memory, {cards}")
    print(f"gasang run --vm --cpus {machine.cpus} --memory {machine.memory >> 20}M {name}")
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


def _check_device(path: Path) -> None:
    """Raise StateError where what is read of a device would be a mixture of moments."""
    try:
        found = users(path)
    except OSError as error:
        raise GasangError(
            f"device {path}", f"who uses it cannot be told ({error.strerror})", f"say {MOUNTED.flag} if nobody does"
        ) from error
    if found:
        cause = f"{found[0]}, and would change while it is read"
        raise StateError(f"device {path}", cause, f"unmount it, mount it read-only, or say {MOUNTED.flag} and take what comes")


def _downloaded(url: str, folder: Path, progress: Progress, cleanup: ExitStack) -> str:
    """The file of what a server has that does not serve parts; it goes when the import ends."""
    from tempfile import TemporaryDirectory

    from gasang.storage.http_whole import download

    print(f"gasang: the server of {url} does not serve parts of files: it is downloaded as a whole first", file=sys.stderr)
    place = cleanup.enter_context(TemporaryDirectory(prefix=".new-", dir=folder.parent))
    path = Path(place, f"disk{Path(url.partition('?')[0]).suffix}")
    last = 0
    with progress.step(f"downloading {url}", unit="bytes") as step:

        def told(done: int) -> None:
            nonlocal last
            step.advance(done - last)
            last = done

        download(url, path, told)
    return str(path)


def _open(parsed: Parsed, source: str, cleanup: ExitStack) -> Image:
    # What is on a device was written by whoever used it: it may look like any image, and is a disk.
    form = parsed.get(FORM) or ("raw" if is_block_device(Path(source)) else None)
    return cleanup.enter_context(closing(open_named(parsed, source, form=form, key_file=parsed.get(KEY_FILE), header=parsed.get(HEADER))))


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
    from gasang.storage.shelf import form_of, user_shelf

    plain = Appliance(Path(source).stem, 0, 0, (), ("nat",))
    if source.startswith(REMOTE) or Path(source).exists():
        return plain, [_open(parsed, source, cleanup)]
    kept = user_shelf()
    if (only := kept.disk(source)) is not None and "/" in source:
        return plain, [cleanup.enter_context(closing(open_image(only, read_only=True, form=form_of(only))))]
    if only is not None:
        machine, count = kept.machine(source)
        files = [kept.disk(f"{source}/{number}") for number in range(count)]
        return machine, [
            cleanup.enter_context(closing(open_image(file, read_only=True, form=form_of(file)))) for file in files if file is not None
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
            (FORM, KEY_FILE, HEADER, ALLOW, MOUNTED, JSON, *OF_ARCHIVES),
            (
                Argument(
                    "FILE|DEVICE|URL",
                    "a disk image, an .ova or .ovf, a disk of this host, or a tar archive; - for one on standard input",
                    completes="files",
                ),
                Argument("NAME", "what to call it; else the file's own name", required=False),
            ),
            examples=(
                Example("gasang image import debian.vmdk", "then: gasang run --vm debian boots it with its own kernel"),
                Example("gasang image import appliance.ova web", "its disks, and what machine it was"),
                Example(
                    "gasang image import http://server/cloud.qcow2 cloud", "without downloading it first, where its server serves parts"
                ),
                Example("gasang image import /dev/sdb old-server", "a physical machine's disk as a machine"),
                Example("gasang image import root.tar.gz tiny:1", "a container image, as gasang import makes it"),
            ),
            notes="""Disks become sparse files of their own, which gasang image ls shows and gasang image rm forgets. The manifest of an
appliance is verified, and nothing of it is unpacked.""",
        ),
        _import,
    ),
    "export": Local(
        Syntax(
            "Write a disk, imported disks or a machine's image as a disk image or an appliance.",
            (OVA, CPUS, MEMORY, FORM, TO, OPTION, KEY_FILE, HEADER, FORCE, ALLOW),
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
