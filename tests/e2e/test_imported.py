"""A disk of another hypervisor: taken in, and booted with the kernel that lies on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from gasang.core.paths import cache_folder
from gasang.images import store as parts
from gasang.images.cpio import archive
from gasang.images.store import Store
from gasang.native.cache import default_directory
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import Entry, Kind
from support.cpio_reader import unpack
from support.debian_guest import IMAGE
from support.disks import gpt

ROOT = UUID(int=0x55556666)
RELEASE = "6.0-test"
WORDS = "root=/dev/vda1\nmode=command\ntty=\nset -- PATH=/bin /bin/sh -c 'echo I am $(cat /etc/hostname); exit 3'\n"
GRUB = f"""
menuentry old {{ linux /boot/vmlinuz-old }}
menuentry new {{
  search --fs-uuid --set=root {ROOT}
  linux /boot/vmlinuz-{RELEASE} root=UUID={ROOT} ro quiet loglevel=3
  initrd /boot/initrd.img-{RELEASE}
}}
set default=new
"""


def kept() -> tuple[bytes, bytes]:
    """The kernel and the initial RAM disk of the tests' Debian image."""
    store = Store(cache_folder(os.environ) / "tests" / "data" / "images")
    image = store.resolve(IMAGE)
    return store.path(image.layer(parts.KERNEL)).read_bytes(), store.path(image.layer(parts.INITRD)).read_bytes()


def foreign_disk(place: Path) -> bytes:
    """A partition with a root of busybox, a kernel with its modules and initrd, and GRUB's configuration."""
    kernel, initrd = kept()
    found = unpack(initrd)
    busybox = found[b"bin/busybox"].data
    own = archive([
        Entry(path="gasang", kind=Kind.DIRECTORY, mode=0o755), Entry(path="gasang/settings", kind=Kind.FILE, data=WORDS.encode()),
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
    files = {
        "bin/busybox": busybox, "etc/hostname": b"imported\n", "boot/grub/grub.cfg": GRUB.encode(), f"boot/vmlinuz-{RELEASE}": kernel,
        f"boot/initrd.img-{RELEASE}": initrd + own,
        f"lib/modules/{RELEASE}/modules.builtin": b"kernel/drivers/char/virtio_console.ko\n",
        **{f"lib/modules/{RELEASE}/kernel/{name}": data for name, data in modules.items()},
    }  # fmt: skip
    entries = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in folders]
    entries += [Entry(path=name, kind=Kind.FILE, mode=0o755, data=data) for name, data in files.items()]
    entries += [Entry(path=name, kind=Kind.SYMLINK, target="/bin/busybox") for name in ("bin/sh", "bin/cat", "usr/bin/env")]
    write_ext4(place / "root.img", entries, 96 << 20, uuid=ROOT)
    return gpt([(place / "root.img").read_bytes()])


def gasang(home: Path, *words: object, code: int = 0) -> str:
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "GASANG_HOME": str(home), "GASANG_NATIVE_CACHE": str(default_directory())}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
        env=environment,
    )
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def test_a_disk_boots_with_its_own_kernel(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(foreign_disk(tmp_path))
    home = tmp_path / "home"
    gasang(home, "image", "import", tmp_path / "disk.img", "web")
    said = gasang(home, "run", "--vm", "web")
    assert "I am imported" in said
    assert "gasang-exit: 3" in said
    busybox = unpack(kept()[1])[b"bin/busybox"].data
    (home / "cache" / "imported" / "busybox-riscv64").write_bytes(busybox)  # no mirror is asked
    assert gasang(home, "run", "--vm", "web", "--", "sh", "-c", "cat /etc/hostname; exit 5", code=5) == "imported\n"
