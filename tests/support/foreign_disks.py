"""The disk of another hypervisor's machine, made of a kernel and its initial RAM disk."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from gasang.images.cpio import archive
from gasang.images.initramfs import modules_for
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import Entry, Kind
from support.cpio_reader import unpack
from support.disks import gpt

ROOT = UUID(int=0x55556666)
RELEASE = "6.0-test"
WORDS = "root=/dev/vda1\nmode=command\ntty=\nset -- PATH=/bin /bin/sh -c 'echo I am $(cat /etc/hostname); exit 3'\n"
SHELL = "root=/dev/vda1\nmode=shell\ntty=\nset -- PATH=/bin:/usr/bin HOME=/root PS1='imported# ' /bin/sh\n"
"""A shell at the serial console, and nobody who asks for a login."""
LOGIN = "root=/dev/vda1\nmode=shell\ntty=\nset -- PATH=/bin /bin/sh -c 'while :; do printf \"web login: \"; read -r name; done'\n"
GRUB = f"""
menuentry old {{ linux /boot/vmlinuz-old }}
menuentry new {{
  search --fs-uuid --set=root {ROOT}
  linux /boot/vmlinuz-{RELEASE} root=UUID={ROOT} ro quiet loglevel=3
  initrd /boot/initrd.img-{RELEASE}
}}
set default=new
"""


def foreign_disk(place: Path, kernel: bytes, initrd: bytes, architecture: str, words: str = WORDS) -> bytes:
    """A partition with a root of busybox, a kernel with its modules and initrd, and GRUB's configuration.

    `words` are what guest/init is told: what it is that runs there.
    """
    found = unpack(initrd)
    busybox = found[b"bin/busybox"].data
    own = archive([
        Entry(path="gasang", kind=Kind.DIRECTORY, mode=0o755), Entry(path="gasang/settings", kind=Kind.FILE, data=words.encode()),
    ])  # fmt: skip
    folders = [
        "bin",
        "boot",
        "boot/grub",
        "dev",
        "etc",
        "lib",
        "lib/modules",
        f"lib/modules/{RELEASE}",
        "proc",
        "root",
        "run",
        "sys",
        "usr",
    ]
    folders += ["usr/bin", f"lib/modules/{RELEASE}/kernel"]
    modules = {name.removeprefix(b"modules/").decode(): record.data for name, record in found.items() if name.endswith(b".ko")}
    there = {name.rpartition("/")[2].removesuffix(".ko") for name in modules}
    built_in = "".join(f"kernel/{name}.ko\n" for name in modules_for(architecture) if name not in there)
    files = {
        "bin/busybox": busybox, "etc/hostname": b"imported\n", "boot/grub/grub.cfg": GRUB.encode(), f"boot/vmlinuz-{RELEASE}": kernel,
        f"boot/initrd.img-{RELEASE}": initrd + own,
        f"lib/modules/{RELEASE}/modules.builtin": built_in.encode(),
        **{f"lib/modules/{RELEASE}/kernel/{name}": data for name, data in modules.items()},
    }  # fmt: skip
    entries = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in folders]
    entries += [Entry(path=name, kind=Kind.FILE, mode=0o755, data=data) for name, data in files.items()]
    entries += [Entry(path=name, kind=Kind.SYMLINK, target="/bin/busybox") for name in ("bin/sh", "bin/cat", "usr/bin/env")]
    write_ext4(place / "root.img", entries, 96 << 20, uuid=ROOT)
    return gpt([(place / "root.img").read_bytes()])
