"""Images that somebody damaged: a GasangError or an answer, soon, and with little memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from gasang.core.errors import GasangError
from gasang.storage.images import parallels, vdi, vhd, vhdx, vhdx_layout, vmdk_descriptor, vmdk_sparse
from gasang.storage.images import parallels_description as description
from gasang.storage.images.image import Image
from gasang.storage.images.qcow2 import files as qcow2
from gasang.storage.images.qcow2 import snapshots
from gasang.storage.images.references import Trust
from gasang.storage.images.store import Store, Volatile

SIZE = 200 << 10


def made_qcow2(options: dict[str, str]) -> Volatile:
    store = Volatile()
    disk = qcow2.make(store, SIZE, options)
    packed = disk.compress(b"squeeze" * 2000)
    disk.write(0, b"data" * 4096)
    if packed:
        disk.write_compressed(64 << 10, packed)
    snapshots.create(disk, "kept")
    disk.write(100, b"more")
    disk.close()
    return store


def made(maker: Callable[..., Image], options: dict[str, str]) -> Volatile:
    store = Volatile()
    disk = maker(store, SIZE, options)
    disk.write(1000, b"data" * 4096)
    disk.close()
    return store


def made_vmdk(*, compressed: bool) -> Volatile:
    store = Volatile()
    disk = vmdk_sparse.make_extent(store, SIZE, b"# Disk DescriptorFile\n", compressed=compressed)
    disk.write(0, b"data" * (16 << 10))
    disk.close()
    return store


KINDS: dict[str, tuple[Callable[[], Volatile], Callable[[Store], Image]]] = {
    "qcow2": (lambda: made_qcow2({"cluster_size": "4K"}), qcow2.load),
    "qcow2 v2": (lambda: made_qcow2({"cluster_size": "512", "compat": "0.10"}), qcow2.load),
    "qcow2 extended": (lambda: made_qcow2({"cluster_size": "16K", "extended_l2": "on", "compression_type": "zstd"}), qcow2.load),
    "vdi": (lambda: made(vdi.make_image, {}), vdi.load),
    "vhd": (lambda: made(vhd.make_image, {}), lambda store: vhd.load(store, Path("/nowhere/disk"), Trust(beside=False))),
    "vhd fixed": (
        lambda: made(vhd.make_image, {"subformat": "fixed"}),
        lambda store: vhd.load(store, Path("/nowhere/disk"), Trust(beside=False)),
    ),
    "vhdx": (lambda: made(vhdx.make_image, {"block_size": "1M"}), vhdx.load),
    "parallels": (lambda: made(parallels.make_image, {}), parallels.load),
    "vmdk": (lambda: made_vmdk(compressed=False), vmdk_sparse.load),
    "vmdk compressed": (lambda: made_vmdk(compressed=True), vmdk_sparse.load),
}


def mutated(good: bytes, rng: random.Random) -> bytes:
    """A few bytes or words changed where something stands, or the file cut."""
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(len(data), rng.choice((120, 1024, len(data)))))
        how = rng.randrange(4)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at : at + 8] = rng.choice((0, 1, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1, 1 << 40)).to_bytes(8, rng.choice(("big", "little")))
        elif how == 2:
            data[at : at + 4] = rng.randbytes(4)
        else:
            del data[at + 512 :]
    return bytes(data)


def used(disk: Image) -> None:
    """What anybody does with an image."""
    try:
        disk.about()
        for number, (offset, length) in enumerate(disk.data()):
            disk.read(offset, min(length, 1 << 16))
            if number > 20:
                break
        disk.read(max(0, disk.size - 4096), min(disk.size, 4096))
        if disk.size < 1 << 30:
            disk.check()
        if not disk.read_only:
            disk.write(0, b"x" * 600)
            disk.flush()
    finally:
        disk.close()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told_and_costs_little(kind: str) -> None:
    make, load = KINDS[kind]
    good = bytes(make().content)
    used(load(Volatile(good, read_only=True)))
    rng = random.Random(kind)
    refused = 0
    begin = monotonic()
    for number in range(120):
        store = Volatile(mutated(good, rng), read_only=number % 2 == 0)
        try:
            used(load(store))
        except (GasangError, OSError):
            refused += 1
    assert refused
    assert monotonic() - begin < 60


def test_a_header_that_promises_much_takes_little_memory() -> None:
    head = bytearray(Volatile(made_qcow2({"cluster_size": "4K"}).content).read(0, 4096))
    head[20:24] = (21).to_bytes(4, "big")
    head[24:32] = (1 << 55).to_bytes(8, "big")
    head[36:40] = (4 << 20).to_bytes(4, "big")
    head[56:60] = (4).to_bytes(4, "big")
    tracemalloc.start()
    with pytest.raises(GasangError):
        qcow2.load(Volatile(bytes(head), read_only=True))
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_compressed_cluster_expands_to_a_cluster_at_most() -> None:
    import zlib

    from gasang.storage.images.qcow2.compression import expand

    worker = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = worker.compress(bytes(64 << 20)) + worker.flush()
    tracemalloc.start()
    assert expand(bomb, 4096, 0, "bomb") == bytes(4096)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_texts_and_logs_of_noise() -> None:
    rng = random.Random(7)
    for _ in range(200):
        noise = rng.randbytes(rng.randrange(6000))
        for parse in (description.parse, vmdk_descriptor.parse):
            with pytest.raises(GasangError):
                parse(noise, "noise")
        with pytest.raises(GasangError):
            vhdx_layout.pending(noise.ljust(8192, b"\0"), bytes(16), "noise")
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Parallels_disk_image>&a;</Parallels_disk_image>'
    with pytest.raises(GasangError):
        description.parse(bomb, "bomb")
