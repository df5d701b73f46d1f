"""From an empty store to the first process of a large image: ten layers, 22,000 files, 225 MiB, from a registry on the loopback."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Target
from bench.measures.containers.sides import Side, in_turn
from bench.pull_image import LAYERS, make_image

from support.engines.registry import Registry
from support.engines.rootfs import busybox

REPOSITORY = "bench/app:1"


def pull(found: Sequence[Side], runs: int) -> list[Figure]:
    """`docker run` of an image that is not there yet. The image has no programs: busybox is mounted into it."""
    from gasang.images.content.content import Content
    from gasang.images.registry.push import push

    folder = Path(tempfile.mkdtemp(prefix="pull-", dir="/var/tmp"))
    registry = Registry(folder / "registry")
    try:
        name = f"{registry.host}/{REPOSITORY}"
        content = Content(folder / "source")
        size = make_image(content, name)
        push(name, content)
        shutil.rmtree(folder / "source")
        values = in_turn(found, max(1, runs // 4), lambda side: _pulled(side, name), lambda side: _forget(side, name))
    finally:
        registry.close()
        shutil.rmtree(folder, ignore_errors=True)
    return [values.figure("pull to first process", "s", Target("≤", 0.4), f"{size >> 20} MiB compressed, {LAYERS} layers")]


def _forget(side: Side, name: str) -> None:
    side.docker("rmi", "-f", name, code=None)
    side.docker("image", "prune", "-f")
    os.sync()  # each begins with nothing of the one before to be written


def _pulled(side: Side, name: str) -> float:
    begin = time.monotonic()
    done = side.docker("run", "--rm", "-v", f"{busybox()}:/busybox:ro", name, "/busybox", "true", seconds=600)
    taken = time.monotonic() - begin
    fresh = done.said.count(": Pull complete")
    if fresh != LAYERS:
        raise OSError(f"{side.name}: {fresh} layers of {LAYERS} were pulled: the store was not empty")
    return taken
