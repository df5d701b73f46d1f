"""What the tests of disk images share: qemu-img as a second opinion, and a disk beside a model of it in memory."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from gasang.storage.images.image import Image
from gasang.storage.images.qcow2.disk import Qcow2

THEIR_NAMES = {"vhd": "vpc"}
CHECKED = ("qcow2", "vmdk", "vdi", "vhdx", "parallels")
"""Formats that qemu-img can check."""

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed (Debian: qemu-utils)")


def qemu_img(*words: object) -> str:
    """Run it; fail with what it says."""
    done = subprocess.run(["qemu-img", *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done.stdout


def same_for_qemu(path: Path, form: str, model: bytes) -> None:
    """qemu-img sees the disk that `model` is."""
    raw = path.parent / "model.raw"
    raw.write_bytes(model)
    qemu_img("compare", "-f", "raw", "-F", THEIR_NAMES.get(form, form), raw, path)


def scribble(disk: Image, model: bytearray, rng: random.Random, steps: int, *, discards: bool = True) -> None:
    """Random writes, discards, flushes and reads; the disk must be what the model is."""
    size = len(model)
    for _ in range(steps):
        at = rng.randrange(size)
        length = min(size - at, rng.choice((1, 512, 5000, 70_000, 400_000)))
        what = rng.random()
        if what < 0.6:
            data = rng.randbytes(length)
            disk.write(at, data)
            model[at : at + length] = data
        elif what < 0.75 and discards:
            disk.discard(at, length)
            model[at : at + length] = bytes(length)
        elif what < 0.85:
            disk.flush()
        elif isinstance(disk, Qcow2):
            piece = disk.compressed_piece
            begin = at // piece * piece
            data = (bytes((rng.randrange(1, 9),)) * piece)[: size - begin]
            packed = disk.compress(data)
            assert packed is not None or piece < 1024
            if packed is not None:
                disk.write_compressed(begin, packed)
                model[begin : begin + len(data)] = data
        at = rng.randrange(size)
        assert disk.read(at, min(size - at, 9999)) == model[at : at + 9999]
    assert disk.read(0, size) == model


def whole(disk: Image) -> bytes:
    """What `data` says there is, on zeroes."""
    model = bytearray(disk.size)
    for offset, length in disk.data():
        model[offset : offset + length] = disk.read(offset, length)
    return bytes(model)
