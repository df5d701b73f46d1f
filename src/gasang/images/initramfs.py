"""The initramfs every image boots with, and the settings appended to it for one run.

The initramfs is the same for all runs of an image: a static busybox, the modules that make the board's disk, console and random numbers
work, and `guest/init`. What differs from run to run is a second, tiny archive after it, a shell script of quoted assignments; thus nothing
is unpacked, mounted or rewritten on the host to run a command, and the first process in the guest starts almost none of its own. That
archive brings `guest/init` once more, for an image made by another version of gasang: host and guest are to speak the same language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from gasang.core.errors import UsageError
from gasang.images.cpio import archive
from gasang.images.kernel import Kernel
from gasang.storage.tree import Entry, Kind

WANTED_MODULES = ("virtio_blk", "virtio_console", "virtio_rng", "ext4")
TRANSPORT_MODULES = {"riscv64": ("virtio_mmio",), "amd64": ("virtio_pci",)}
"""How each architecture's machines reach their virtio devices."""
OPTIONAL_MODULES = (
    "crc32c_generic", "vmgenid", "pvpanic_mmio", "virtio_balloon", "virtio_net", "virtiofs", "vmw_vsock_virtio_transport",
)  # fmt: skip
"""ext4 asks the crypto layer for crc32c by the first's name; kernels from 6.14 on have it built in. Two are for amd64's board.

The others are loaded where a machine has such a device: a start need not pay for them. What the last one needs has "vsock" in its name.
"""


def modules_for(architecture: str) -> tuple[str, ...]:
    """The modules without which a machine of that architecture has no root."""
    return (*TRANSPORT_MODULES[architecture], *WANTED_MODULES)


DEFAULT_ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
LOGIN_SHELL = ("/bin/bash", "-l")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})")
_DEVICE = re.compile(r"[A-Za-z0-9/]{1,32}")
_DIRECTORIES = ("bin", "dev", "device-links", "device-links/pts", "device-links/shm", "etc", "gasang", "modules", "proc", "root", "sys")
_LINKS = {
    "bin/sh": "busybox",
    "device-links/fd": "/proc/self/fd",
    "device-links/stdin": "/proc/self/fd/0",
    "device-links/stdout": "/proc/self/fd/1",
    "device-links/stderr": "/proc/self/fd/2",
}
_FSTAB = """\
proc /proc proc defaults 0 0
sysfs /sys sysfs defaults 0 0
devtmpfs /dev devtmpfs mode=755 0 0
"""
_FSTAB_ROOT = """\
/dev /root/dev none bind 0 0
devpts /root/dev/pts devpts gid=5,mode=620,ptmxmode=666 0 0
shm /root/dev/shm tmpfs mode=1777,nosuid,nodev 0 0
proc /root/proc proc nosuid,nodev,noexec 0 0
sysfs /root/sys sysfs nosuid,nodev,noexec 0 0
run /root/run tmpfs mode=755,nosuid,nodev 0 0
"""

STREAMS = ("stdin", "stdout", "stderr")
PORTS = ("gasang.control", *(f"gasang.{name}" for name in STREAMS))
"""The console ports `guest/init` speaks through."""

BASE_APPEND = "console=hvc0 quiet loglevel=3 cryptomgr.notests initcall_blacklist=jent_mod_init audit=0 random.trust_bootloader=1"
"""What our own guests' kernels are told: nothing to print, no self-tests of ciphers, entropy from the device tree.

`jent_mod_init` measures a source of randomness nobody asks for (virtio-rng is there), for a third of the instructions of a boot.
"""

Mode = Literal["shell", "command", "configure"]


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """What one run asks of the guest.

    `command` is an argument vector, searched for in the guest's PATH; without it, a login shell. `environment` holds "NAME=VALUE" words.
    `tty`: the command has the terminal instead of the ports; `device` names the terminal under /dev ("hvc0"), empty for the kernel's
    console. `ports`: the host offers PORTS and has them open; without them the guest speaks through its console. `mounts`: tag, options and
    target of each folder of the host; `volumes`: serial number, options and target of each disk to mount.
    `addresses`, with prefixes, are the network card's; `resolver`, an IPv4 and a hardware address, is
    not asked for on the cable; with `listens` routers there are trusted with its addresses of IPv6. `resolv_conf` is a whole file, "" to
    leave the root's. `unwanted` are modules that need not be loaded.
    """

    mode: Mode = "shell"
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    hostname: str = "debian"
    tty: bool = False
    ports: bool = True
    device: str = ""
    root: str = "/dev/vda"
    mounts: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolv_conf: str = ""
    resolver: str = ""
    listens: bool = False
    process: ImageProcess | None = None
    unwanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageProcess:
    """What a container image says of its process: entry point, command, variables, user, directory. Empty is what a container has then.

    And of what is around it: the `ports` that it offers ("80/tcp"), the signal that asks it to end, and how to see whether it is well (the
    API's Healthcheck).
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""
    ports: tuple[str, ...] = ()
    stop_signal: str = ""
    health: dict[str, Any] | None = None


def initramfs(kernel: Kernel, busybox: bytes) -> bytes:
    """The archive, uncompressed: unpacking it then costs the guest a copy."""
    entries = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in _DIRECTORIES]
    entries.append(Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)))
    entries.append(Entry(path="bin/busybox", kind=Kind.FILE, mode=0o755, data=busybox))
    entries += [Entry(path=name, kind=Kind.SYMLINK, mode=0o777, target=target) for name, target in _LINKS.items()]
    entries.append(Entry(path="etc/fstab", kind=Kind.FILE, data=_FSTAB.encode()))
    entries.append(Entry(path="etc/fstab.root", kind=Kind.FILE, data=_FSTAB_ROOT.encode()))
    entries += [Entry(path=f"modules/{module.name}.ko", kind=Kind.FILE, data=module.data) for module in kernel.modules]
    order = "".join(f"{module.name}\n" for module in kernel.modules)
    entries.append(Entry(path="modules/order", kind=Kind.FILE, data=order.encode()))
    entries += [Entry(path=name, kind=Kind.FILE, mode=0o755, data=_guest_file(name)) for name in ("init", "configure")]
    return archive(entries)


def overlay(settings: GuestSettings, agent: bytes = b"", *, serves: bool = True) -> bytes:
    """The archive to append to the initramfs for one run; raise UsageError for what no process can be given (zero bytes, odd names).

    `agent` is the guest agent's program, which a container image's process needs as well; it `serves` where the host offers the virtual
    sockets that it is reached by.
    """
    text = "".join(f"{line}\n" for line in [f"agent={'1' if agent and serves else ''}", *_assignments(settings)])
    data = text.encode("utf-8", "surrogateescape")
    return archive(
        [
            Entry(path="init", kind=Kind.FILE, mode=0o755, data=_guest_file("init")),
            Entry(path="gasang", kind=Kind.DIRECTORY, mode=0o755),
            Entry(path="gasang/settings", kind=Kind.FILE, mode=0o600, data=data),
            *(Entry(path=f"gasang/{name}", kind=Kind.FIFO, mode=0o600) for name in STREAMS),
            *([Entry(path="gasang/agent", kind=Kind.FILE, mode=0o700, data=agent)] if agent else []),
        ]
    )


def _guest_file(name: str) -> bytes:
    return resources.files("gasang.images").joinpath("guest", name).read_bytes()


def _assignments(settings: GuestSettings) -> list[str]:
    _match(_HOSTNAME, settings.hostname, "host name")
    _match(_DEVICE, settings.root, "root device")
    if settings.device:
        _match(_DEVICE, settings.device, "terminal")
    return [
        f"mode={settings.mode}",
        f"hostname={settings.hostname}",
        f"ports={'1' if settings.ports else ''}",
        f"tty={settings.device}",
        f"terminal={'1' if settings.tty else ''}",
        f"root={settings.root}",
        f"mounts={_quoted(chr(10).join(settings.mounts))}",
        f"volumes={_quoted(chr(10).join(settings.volumes))}",
        f"addresses={_quoted(' '.join(settings.addresses))}",
        f"gateways={_quoted(' '.join(settings.gateways))}",
        f"resolver={_quoted(settings.resolver)}",
        f"listens={'1' if settings.listens else ''}",
        f"resolv_conf={_quoted(settings.resolv_conf)}",
        f"alone={'1' if settings.process else ''}",
        f"unwanted={_quoted(' '.join(settings.unwanted))}",
        "set -- " + " ".join(_quoted(word) for word in _words(settings)),
    ]


def _words(settings: GuestSettings) -> list[str]:
    """What the root's `env` is given: assignments and the command, which thus can hold no "=" in its name."""
    for word in settings.environment:
        if not word.partition("=")[0] or "=" not in word:
            raise UsageError(f"environment variable {word!r}", "it has no name or no value", "write NAME=VALUE")
    process = settings.process
    if process is None:
        return [*DEFAULT_ENVIRONMENT, *settings.environment, *(settings.command or LOGIN_SHELL)]
    home = [word for word in DEFAULT_ENVIRONMENT if not word.startswith("HOME=")]  # the user's, whom only the root knows
    start = ["/gasang/agent", "run", "/root", process.user, process.directory]
    return [*home, *process.environment, *settings.environment, *start, *process.entrypoint, *(settings.command or process.command)]


def _quoted(word: str) -> str:
    """A word as a shell reads it back, whatever it holds."""
    if "\0" in word:
        raise UsageError(f"argument {word!r}", "it holds a zero byte, which no argument can", "leave it out")
    return "'" + word.replace("'", "'\\''") + "'"


def _match(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(f"{what} {value!r}", "it has characters such a name cannot have", "use letters, digits and '-'")
