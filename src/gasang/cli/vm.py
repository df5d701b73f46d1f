"""``gasang run`` of a virtual machine: from an image or a kernel, with this terminal as its console."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gasang.api.client import path_of
from gasang.cli.console import StreamConsole
from gasang.cli.containers import places as of
from gasang.cli.containers.attachments import USER, USER_WITH_HOST, Attachment, switch_of, user_network
from gasang.cli.containers.kinds import ARCH
from gasang.cli.containers.options import CPUS, ENVIRONMENT, ENVIRONMENT_FILE, INTERACTIVE, MEMORY, TTY, environment_of
from gasang.cli.files import existing_file, file_to_read
from gasang.cli.options import Option, Parsed, plain_text, switch, value, values
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.core.config import one_of, parse_cpus, parse_memory
from gasang.core.errors import NotFoundError, UsageError
from gasang.core.units import parse_size

if TYPE_CHECKING:  # a start without disks has no time for it
    from gasang.cli.folders import NamedVolume
    from gasang.kinds.vm.disks import Disk
    from gasang.kinds.vm.folders import SharedFolder
    from gasang.kinds.vm.switch_network import SwitchNetwork
    from gasang.kinds.vm.user_network import UserNetwork
    from gasang.kinds.vm.volumes import AttachedVolume

DISK_WORDS = ("readonly", "format", "iops", "iops-burst", "bps", "bps-burst", "key-file", "header")
"""What may stand behind a disk, each after a comma."""


def _disk(text: str, subject: str) -> Disk:
    """A file or an address, and what is said of it. Raises what `existing_file` raises, UsageError for a number that is none."""
    from gasang.kinds.vm.disks import Disk
    from gasang.storage.formats import REMOTE
    from gasang.storage.throttle import Limits

    said: dict[str, str] = {}
    while (comma := text.rfind(",")) > 0:
        word, _, what = text[comma + 1 :].partition("=")
        if word not in DISK_WORDS or (word == "readonly") != (text[comma + 1 :] == "readonly"):
            break
        said[word] = what
        text = text[:comma]
    rates = [_rate(said.get(word, "0"), f"{subject}: {word}") for word in ("iops", "bps", "iops-burst", "bps-burst")]
    remote = text.startswith(REMOTE)
    named = None if remote or os.path.exists(text) else _imported(text)
    form = said.get("format", "") or (named.suffix.removeprefix(".") if named else "")
    return Disk(
        Path(text) if remote else named or existing_file(text, subject),
        read_only="readonly" in said,
        form=form,
        address=text if remote else "",
        limits=Limits(*rates) if any(rates[:2]) else None,
        key_file=existing_file(said["key-file"], subject) if "key-file" in said else None,
        header=existing_file(said["header"], subject) if "header" in said else None,
    )


def disks_of(parsed: Parsed) -> tuple[Disk, ...]:
    """Those that were named, behind the others of an imported machine that has several. Raises BadInputError."""
    name = parsed.arguments[0] if parsed.arguments else ""
    given = tuple(parsed.get(DISK))
    if not name or "/" in name or _imported(name) is None:
        return given
    from gasang.kinds.vm.disks import Disk
    from gasang.storage.shelf import user_shelf

    kept = user_shelf()
    more = [kept.disk(f"{name}/{number}") for number in range(1, kept.machine(name)[1])]
    named = {disk.path for disk in given}
    return (*(Disk(path, form=path.suffix.removeprefix(".")) for path in more if path is not None and path not in named), *given)


def _imported(text: str) -> Path | None:
    """The file of a disk that was imported under a name."""
    from gasang.storage.shelf import user_shelf

    return user_shelf().disk(text)


def _rate(text: str, subject: str) -> int:
    """So many a second, a whole number with K, M or G behind it. Raises UsageError."""
    return 0 if text == "0" else parse_size(text, subject)


KERNEL = value("kernel", "FILE", "boot this Linux kernel: Image, Image.gz, bzImage or ELF", file_to_read, files=True)
INITRD = value("initrd", "FILE", "initial RAM disk for --kernel", file_to_read, files=True)
APPEND = value("append", "TEXT", "more for the kernel's command line", plain_text)
DISK = values(
    "disk",
    "FILE|URL[,WORD…]",
    "another disk: an image of any format, or nbd:// or http:// and where it lies; may be given many times",
    _disk,
    files=True,
)
ACCEL = value("accel", "HOW", "what runs it: kvm or soft, the software processor", one_of("kvm", "soft"), choices=("kvm", "soft"))
_JIT = ("off", "on", "check")
JIT = value("jit", "HOW", "hot code of the software processor: off, on (compiled), check (and compared)", one_of(*_JIT), choices=_JIT)
HUGE_PAGES = switch("huge-pages", "memory in pages of 2 MiB where the host has them: faster, but a twin of it costs more")
REQUIRE_JAIL = switch("require-jail", "with -d: do not start it where the host does not permit all of its process's jail")
NETWORK: tuple[Option[Any], ...] = (of.NETWORKS, of.NO_ROOT, of.PUBLISH)
"""Those of containers that virtual machines in the foreground read in their own way."""
OPTIONS = (ARCH, ACCEL, JIT, HUGE_PAGES, REQUIRE_JAIL, DISK, KERNEL, INITRD, APPEND)
"""Those that virtual machines alone have."""


def check(parsed: Parsed) -> None:
    """Raise UsageError for what makes no sense together."""
    has_image, has_kernel = bool(parsed.arguments), parsed.get(KERNEL) is not None
    if not has_image and not has_kernel:
        raise UsageError("gasang run", "it needs an IMAGE or a --kernel", "try gasang run --vm debian:trixie")
    if has_image and has_kernel:
        raise UsageError("option --kernel", "an IMAGE has its own kernel", "leave one of the two out")
    if has_image and parsed.get(INITRD):
        raise UsageError("option --initrd", "it goes with --kernel", "add --kernel FILE")
    if has_kernel and (parsed.command or parsed.get(ENVIRONMENT) or parsed.get(ENVIRONMENT_FILE)):
        raise UsageError("command", "only an IMAGE can run one", 'tell a kernel what to run with --append "init=…"')


def mounts(parsed: Parsed) -> list[SharedFolder | NamedVolume]:
    """Folders of the host and volumes to mount. Raises UsageError."""
    from gasang.cli.containers.places import MOUNTS, VOLUMES

    given = bool(parsed.get(VOLUMES)) or bool(parsed.get(MOUNTS))
    if given and parsed.get(KERNEL) is not None:
        raise UsageError("options --volume and --mount", "only an IMAGE mounts folders", "leave them out, or --kernel")
    if not given:
        return []
    from gasang.cli.folders import mounts_of

    return mounts_of(parsed)


def attached(parsed: Parsed, context: Context) -> tuple[tuple[SharedFolder, ...], tuple[AttachedVolume, ...]]:
    """What a machine in the foreground mounts: folders, and disk volumes; the daemon knows where a volume is. Raises GasangError."""
    from gasang.kinds.vm.folders import SharedFolder

    wanted = mounts(parsed)
    folders, volumes = [each for each in wanted if isinstance(each, SharedFolder)], []
    for each in wanted:
        if isinstance(each, SharedFolder):
            continue
        from gasang.cli.containers.daemon import connect
        from gasang.kinds.vm.volumes import AttachedVolume

        client = connect(context)
        try:
            found = client.call("GET", path_of("volumes", each.name))
        except NotFoundError:
            found = client.call("POST", "/volumes/create", body={"Name": each.name})
        place = Path(found["Mountpoint"])
        if found["Driver"] == "disk":
            volumes.append(AttachedVolume(place, each.target, each.read_only))
        else:
            folders.append(SharedFolder(place, each.target, each.read_only))
    return tuple(folders), tuple(volumes)


def network(parsed: Parsed) -> UserNetwork | SwitchNetwork | None:
    """The card and the ports that are asked for. Who is not root gets a card without being asked. Raises UsageError."""
    place, entries = switch_of(parsed.get(of.NETWORKS)), [entry for found in parsed.get(of.PUBLISH) for entry in found]
    if place is not None:
        if entries:
            raise UsageError("option --publish", "a switch leads to nobody outside", "use --network user, or leave the ports out")
        return at_switch(place)
    asked = user_network(parsed.get(of.NETWORKS))
    if asked is None and (entries or parsed.get(of.NO_ROOT) or (parsed.arguments and os.geteuid())):
        asked = USER[0]
    if asked not in USER:
        if entries:
            raise UsageError("option --publish", "a machine without a network offers no ports", "add --network user")
        return None
    from gasang.kinds.vm.user_network import UserNetwork
    from gasang.network.spec import PortSpec
    from gasang.network.user.plan import Plan

    published = []
    for entry in entries:
        first, _, last = entry.host.partition("-")
        published.append(PortSpec(entry.port, entry.protocol, entry.address, int(first or 0), int(last or 0)))
    return UserNetwork(Plan(reaches_host=asked in USER_WITH_HOST), tuple(published))


def at_switch(place: Attachment) -> SwitchNetwork:
    """The card at a switch, with a hardware address of its own unless one was named. Raises UsageError."""
    import secrets

    from gasang.kinds.vm.card import Card
    from gasang.kinds.vm.switch_network import SwitchNetwork

    mac = place.mac or (b"\x02\x67" + secrets.token_bytes(4)).hex(":")
    return SwitchNetwork(place.network, Card(mac, tuple(text for text in (place.ip, place.ip6) if text)))


def own(parsed: Parsed, option: Option[str | None], convert: Callable[[str, str], int]) -> int | None:
    """The value of an option that containers read otherwise. Raises UsageError."""
    text = parsed.get(option)
    return None if text is None else convert(text, option.flag)


def size_of(parsed: Parsed, context: Context) -> tuple[int, int]:
    """Processors and bytes of memory: as asked for, as an imported machine had them, or as configured. Raises UsageError, BadInputError."""
    cpus, memory = own(parsed, CPUS, parse_cpus), own(parsed, MEMORY, parse_memory)
    if parsed.arguments and not (cpus and memory) and _imported(parsed.arguments[0]) is not None:
        from gasang.storage.shelf import user_shelf

        machine, _ = user_shelf().machine(parsed.arguments[0].partition("/")[0])
        cpus, memory = cpus or machine.cpus, memory or machine.memory
    return cpus or context.config.value("cpus"), memory or context.config.value("memory")


def run(parsed: Parsed, context: Context) -> int:
    """Start the machine, connect the console, and return what the command inside returned."""
    image = parsed.arguments[0] if parsed.arguments else None
    kernel = parsed.get(KERNEL)
    check(parsed)
    on_terminal = not parsed.command and os.isatty(0) and os.isatty(1)
    tty = parsed.get(TTY) or on_terminal
    from gasang.kinds.vm import extras, launch

    folders, volumes = attached(parsed, context)
    cpus, memory = size_of(parsed, context)
    spec = launch.VmSpec(
        cpus=cpus,
        memory=memory,
        kernel=kernel,
        initrd=parsed.get(INITRD),
        append=parsed.get(APPEND) or "",
        image=image,
        command=parsed.command,
        environment=environment_of(parsed),
        tty=tty,
        disks=disks_of(parsed),
        origin=context.origin(),
        architecture=parsed.get(ARCH),
        accelerator=parsed.get(ACCEL),
        jit=parsed.get(JIT) or "off",
        extras=extras.Extras(folders, network(parsed), balloon=True, huge_pages=parsed.get(HUGE_PAGES), volumes=volumes),
    )
    reads_input = parsed.get(INTERACTIVE) or tty or not parsed.command
    with open_progress(context) as progress, StreamConsole(raw=tty, reads_input=reads_input) as console:
        if tty:
            print("gasang: Ctrl-] stops the machine", file=sys.stderr)
        code = launch.run_vm(spec, console, progress)
    if console.left is not None:
        print(f"gasang: stopped the machine ({console.left.value})", file=sys.stderr)
        return console.leave_code
    return code
