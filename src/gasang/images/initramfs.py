"""The initramfs of a gasang guest: a static busybox, the modules, and `guest/init`; and the small archive of one run's settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files

from gasang.core.errors import NotFoundError
from gasang.images.cpio import archive
from gasang.images.deb import Deb
from gasang.images.kernel import StockKernel
from gasang.storage.tree import Entry, Kind

DIRECTORIES = ("bin", "dev", "proc", "sys", "root", "modules", "gasang")
CONSOLE = (5, 1)
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PORTS = ("gasang.control", "gasang.stdin", "gasang.stdout", "gasang.stderr")
"""The console ports guest/init looks for."""

BASE_APPEND = "console=hvc0 quiet loglevel=3 cryptomgr.notests audit=0 random.trust_bootloader=1"
"""What our own guests' kernels are told: nothing to print, no self-tests, entropy from the device tree."""


@dataclass(frozen=True)
class GuestSettings:
    """One run: `mode` is shell, command or configure."""

    mode: str
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    hostname: str = "debian"
    tty: bool = False
    extra: tuple[tuple[str, bytes], ...] = field(default=())


def build_initramfs(kernel: StockKernel, busybox: Deb) -> bytes:
    """The archive, not compressed: unpacking would cost the guest more than the host's reading saves."""
    return archive(_entries(kernel, _busybox(busybox)))


def _busybox(package: Deb) -> bytes:
    for entry in package.entries():
        if entry.path in ("bin/busybox", "usr/bin/busybox") and isinstance(entry.data, bytes):
            return entry.data
    raise NotFoundError(package.subject, "it holds no busybox", "pull again")


def _entries(kernel: StockKernel, busybox: bytes) -> Iterable[Entry]:
    for path in DIRECTORIES:
        yield Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)
    yield Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=CONSOLE)
    yield Entry(path="bin/busybox", kind=Kind.FILE, mode=0o755, data=busybox)
    for name in ("init", "configure"):
        yield Entry(path=name, kind=Kind.FILE, mode=0o755, data=files("gasang.images").joinpath("guest", name).read_bytes())
    for name, data in kernel.modules:
        yield Entry(path=f"modules/{name}", kind=Kind.FILE, mode=0o644, data=data)
    order = "".join(f"{name}\n" for name, _ in kernel.modules)
    yield Entry(path="modules/order", kind=Kind.FILE, mode=0o644, data=order.encode())


def overlay(settings: GuestSettings) -> bytes:
    """The archive appended to the initramfs for one run."""
    texts = {"mode": settings.mode, "hostname": settings.hostname, "tty": str(int(settings.tty))}
    command = settings.command or ("/bin/bash", "-l")
    words = ["/bin/busybox", "env", *settings.environment, "/bin/busybox", "chroot", "/root", *command]
    entries = [Entry(path="gasang", kind=Kind.DIRECTORY, mode=0o755)]
    entries += [Entry(path=f"gasang/{name}", kind=Kind.FILE, data=f"{text}\n".encode()) for name, text in texts.items()]
    script = "exec " + " ".join(shlex.quote(word) for word in words) + "\n"
    entries.append(Entry(path="gasang/run", kind=Kind.FILE, data=script.encode("utf-8", "surrogateescape")))
    return archive(entries)
