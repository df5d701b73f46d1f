"""The stock kernel in a linux-image package: the Image, and the modules a machine needs to reach its disk and consoles.

A package holds no modules.dep (depmod writes that at installation), so dependencies are read from the modules themselves (.modinfo).
"""

from __future__ import annotations

from dataclasses import dataclass

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.compression import expand_bytes
from gasang.images.deb import Deb
from gasang.storage.tree import Kind

WANTED = ("virtio_mmio", "virtio_blk", "virtio_rng", "ext4", "crc32c_generic")
"""What the initramfs loads unless it is built in: the transport first, so that the console answers early."""
MAX_MODULE = 64 << 20
KERNEL_NAMES = ("boot/vmlinux-", "boot/vmlinuz-")


@dataclass(frozen=True)
class StockKernel:
    """What is taken of a kernel package. `modules` are (file name, bytes) in loading order."""

    version: str
    image: bytes
    modules: tuple[tuple[str, bytes], ...]


def read_kernel(package: Deb) -> StockKernel:
    """Take kernel and modules out of a package. Raises BadInputError or NotFoundError naming it."""
    image, version = b"", ""
    files: dict[str, tuple[str, bytes]] = {}
    builtin: set[str] = set()
    for entry in package.entries():
        path = entry.path if isinstance(entry.path, str) else entry.path.decode()
        if entry.kind is not Kind.FILE or not isinstance(entry.data, bytes):
            continue
        name = next((prefix for prefix in KERNEL_NAMES if path.startswith(prefix)), None)
        if name is not None:
            image, version = entry.data, path.removeprefix(name)
        elif "/modules.builtin" in path and path.endswith("modules.builtin"):
            builtin = {_module_name(line) for line in entry.data.decode().split()}
        elif ".ko" in path:
            files[_module_name(path)] = (path, entry.data)
    if not image:
        raise NotFoundError(package.subject, "it holds no kernel", "pull again, or name another kernel with --kernel")
    return StockKernel(version, image, tuple(_resolve(files, builtin, package.subject)))


def _module_name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def _resolve(files: dict[str, tuple[str, bytes]], builtin: set[str], subject: str) -> list[tuple[str, bytes]]:
    """The wanted modules, each after what it depends on."""
    order: list[tuple[str, bytes]] = []
    done = set(builtin)

    def load(name: str, chain: tuple[str, ...]) -> None:
        if name in done or name not in files:
            return
        if name in chain:
            raise BadInputError(subject, f"module {name} depends on itself", "pull again")
        path, data = files[name]
        plain = expand_bytes(data, f"{subject}, {path}", MAX_MODULE)
        for needed in dependencies(plain):
            load(needed, (*chain, name))
        done.add(name)
        order.append((f"{name}.ko", plain))

    for wanted in WANTED:
        load(wanted, ())
    return order


def dependencies(module: bytes) -> list[str]:
    """Names of the modules that must be loaded first: `depends=` of .modinfo, a list of zero-terminated "key=value" strings."""
    start = module.find(b"\0depends=")
    if start < 0:
        return []
    text = module[start + 9 : module.find(b"\0", start + 9)].decode("ascii", "replace")
    return [name.replace("-", "_") for name in text.split(",") if name]
