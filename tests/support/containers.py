"""Containers for tests: a root file system of busybox, configurations that differ in one thing, and what a command printed inside."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gasang.kinds.container.config.config import Config, read_config
from gasang.kinds.container.container import Container, Exit, Streams
from gasang.kinds.container.planning.order import FolderRoot, OverlayRoot, Root
from gasang.kinds.container.template import template
from support.privileges import needs_root

BUSYBOX = shutil.which("busybox")
needs_containers = [needs_root, pytest.mark.skipif(BUSYBOX is None, reason="needs a static busybox")]


def make_root(folder: Path) -> Path:
    """A root file system with busybox under all its names."""
    assert BUSYBOX is not None
    for name in ("bin", "etc", "tmp", "root"):
        (folder / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    for name in subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return folder


def configuration(*arguments: str, **process: Any) -> dict[str, Any]:
    """The usual configuration, as JSON has it, running a command; further names are members of `process`."""
    made = copy.deepcopy(template())
    made["process"].update(terminal=False, args=list(arguments), **process)
    made["root"]["readonly"] = False
    return made


def script(text: str, **process: Any) -> dict[str, Any]:
    """As `configuration`, for a shell script."""
    return configuration("sh", "-c", text, **process)


def checked(data: dict[str, Any]) -> Config:
    """The configuration as a value."""
    return read_config(json.dumps(data))


@dataclass
class Ran:
    """What came of a run."""

    exit: Exit
    output: str
    warnings: list[str]

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


class Output:
    """A pipe whose content is collected while a container writes."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        self._data = b""
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        with open(self._read, "rb") as file:
            self._data = file.read()

    def text(self) -> str:
        """All that was written, once every writer has gone."""
        os.close(self.write)
        self._thread.join()
        return self._data.decode(errors="replace")


class Host:
    """Runs containers below a folder, each on a fresh overlay of one root file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lower = make_root(folder / "lower")
        self.null = os.open(os.devnull, os.O_RDWR)
        self._count = 0

    def close(self) -> None:
        os.close(self.null)

    def overlay(self, *layers: Path) -> OverlayRoot:
        """A fresh overlay; `layers` lie above the root file system."""
        self._count += 1
        base = self.folder / f"run{self._count}"
        for name in ("upper", "work", "merged"):
            (base / name).mkdir(parents=True)
        lower = [str(layer) for layer in (*layers, self.lower)]
        return OverlayRoot(lower, str(base / "upper"), str(base / "work"), str(base / "merged"))

    def plain(self) -> FolderRoot:
        """A copy of the root file system."""
        self._count += 1
        return FolderRoot(str(make_root(self.folder / f"copy{self._count}")))

    def create(self, data: dict[str, Any], output: int, root: Root | None = None, **options: Any) -> Container:
        """A container that waits for its start."""
        self._count += 1
        streams = options.pop("streams", Streams((self.null, output, output)))
        return Container.create(
            checked(data), root or self.overlay(), identity=f"test-{os.getpid()}-{self._count}", streams=streams, **options
        )

    def run(self, data: dict[str, Any], root: Root | None = None, **options: Any) -> Ran:
        """From creation to removal."""
        output = Output()
        try:
            container = self.create(data, output.write, root, **options)
            try:
                container.start()
                ended = container.wait()
            finally:
                container.delete(force=True)
        finally:
            text = output.text()
        return Ran(ended, text, container.warnings)

    def sh(self, text: str, **process: Any) -> Ran:
        """A shell script in the usual container."""
        return self.run(script(text, **process))


def mounts_of_host(folder: Path) -> list[str]:
    """Mounts below a folder: elsewhere others may mount meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].startswith(str(folder))]


def children_of_ours() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def groups_of_tests() -> list[str]:
    """The control groups of this process's tests: others may come and go meanwhile."""
    return sorted(place for place, _, _ in os.walk("/sys/fs/cgroup") if f"test-{os.getpid()}-" in place)
