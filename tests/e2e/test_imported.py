"""A disk of another hypervisor: taken in, and booted with the kernel that lies on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gasang.core.paths import cache_folder
from gasang.images import store as parts
from gasang.images.store import Store
from gasang.native.cache import default_directory
from support.cpio_reader import unpack
from support.debian_guest import IMAGE
from support.foreign_disks import foreign_disk


def kept() -> tuple[bytes, bytes]:
    """The kernel and the initial RAM disk of the tests' Debian image."""
    store = Store(cache_folder(os.environ) / "tests" / "data" / "images")
    image = store.resolve(IMAGE)
    return store.path(image.layer(parts.KERNEL)).read_bytes(), store.path(image.layer(parts.INITRD)).read_bytes()


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
    (tmp_path / "disk.img").write_bytes(foreign_disk(tmp_path, *kept(), "riscv64"))
    home = tmp_path / "home"
    gasang(home, "image", "import", tmp_path / "disk.img", "web")
    said = gasang(home, "run", "--vm", "web")
    assert "I am imported" in said
    assert "gasang-exit: 3" in said
    busybox = unpack(kept()[1])[b"bin/busybox"].data
    (home / "cache" / "imported" / "busybox-riscv64").write_bytes(busybox)  # no mirror is asked
    assert gasang(home, "run", "--vm", "web", "--", "sh", "-c", "cat /etc/hostname; exit 5", code=5) == "imported\n"
