"""The command ``gasang`` with a daemon of its own: a home apart, a network namespace apart, and an image of busybox."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.engines.engine import OwnNetwork, remove, short_home
from support.engines.rootfs import busybox_layer

SOURCE = Path(__file__).resolve().parents[3] / "src"
IMAGE = "busybox:verbs"


class Gasang:
    """The command, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.network = OwnNetwork()
        self.environment = {**os.environ, "GASANG_HOME": str(home), "DOCKER_CONFIG": str(home / "docker"), "PYTHONPATH": str(SOURCE)}

    def __call__(self, *words: str, data: bytes = b"", code: int = 0) -> str:
        """Standard output of a command; fails unless it ends with `code`."""
        done = self.run(*words, data=data)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    def run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A command, however it ends."""
        command = [sys.executable, "-m", "gasang", *words]
        return subprocess.run(command, input=data, capture_output=True, check=False, timeout=120, env=self.environment)

    def first_line(self, *words: str) -> str:
        """The first line that a command prints, which goes on until it is ended here."""
        command = [sys.executable, "-m", "gasang", *words]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=self.environment, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.terminate()
        return line

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What is started within is in the daemon's network namespace."""
        self.network.enter()
        try:
            yield
        finally:
            self.network.leave()

    def inspect(self, name: str, field: str) -> str:
        """A field of what is known of something."""
        return self("inspect", "--format", f"{{{field}}}", name).strip()


def archive() -> bytes:
    """An image archive as ``docker save`` has them."""
    layer = busybox_layer()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "ADD busybox /"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as packed:
        for name, data in (
            ("layer.tar", layer),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return output.getvalue()


@contextmanager
def serving() -> Iterator[Gasang]:
    """The command with its daemon running and the image loaded; nothing is left of them afterwards."""
    with served() as command:
        with command.inside():
            assert command("load", data=archive()) == f"{IMAGE}\n"
        yield command


@contextmanager
def served() -> Iterator[Gasang]:
    """The command with its daemon running; nothing is left of them afterwards."""
    home = short_home("verbs")
    command = Gasang(home)
    try:
        with command.inside():
            command("daemon", "start")
        yield command
    finally:
        left = command.run("ps", "-aq").stdout.decode().split()
        if left:
            command.run("rm", "-fv", *left)
        command.run("daemon", "stop")
        command.network.close()
        remove(home)
