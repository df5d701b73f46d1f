"""Pulls that die: of a full disk, of a kill at any moment. Nothing is lost, nothing half-made is seen, and the next pull goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError
from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import collect
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.settings import Registries
from support.fake_registry import FakeRegistry, Handler, make_image
from support.tars import Item, archive

AMD64 = parse_platform("linux/amd64")
NOISE = random.Random(3).randbytes(3 << 20)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs root and mount")
    yield place
    for thread in threading.enumerate():
        if thread.name == "settle":  # it holds the file system
            thread.join()
    subprocess.run(["umount", str(place)], check=True)


def files(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path.stat().st_size > 4096]


@pytest.mark.parametrize("size", [3 << 20, 12 << 20], ids=["unpacking", "downloading"])
def test_a_full_disk(size: int, fake: FakeRegistry, small_disk: Path, quick: Registries) -> None:
    small = fake.add("small", "1", make_image([archive([Item("a", b"small")])]))
    large = fake.add("large", "1", make_image([archive([Item("a", random.Random(1).randbytes(size)), Item("b", bytes(6 << 20))])]))
    content = Content(small_disk / "store")
    before = pull(small, content, platform=AMD64, keyring=Keyring(), registries=quick)
    with pytest.raises(OutOfSpaceError, match="no space is left on its disk; free some"):
        pull(large, content, platform=AMD64, keyring=Keyring(), registries=quick)
    collect(content)
    assert files(small_disk) == []
    assert Containers(content).images() == [before]
    again = fake.add("small", "2", make_image([archive([Item("a", b"also small")])]))
    pull(again, content, platform=AMD64, keyring=Keyring(), registries=quick)


CHILD = """
import sys
from pathlib import Path
from gasang.images.content.content import Content
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
print("ready", flush=True)
pull(sys.argv[1], Content(Path(sys.argv[2])), platform=parse_platform("linux/amd64"), keyring=Keyring())
print("done", flush=True)
"""


def test_killed_at_any_moment(fake: FakeRegistry, content: Content, quick: Registries) -> None:
    archives = [archive([Item(f"f{index}-{number}", NOISE[number * 1000 : number * 1400]) for number in range(300)]) for index in range(3)]
    name = fake.add("app", "1", make_image(archives))

    def slowly(handler: Handler) -> bool:
        if "/blobs/" in handler.path:
            time.sleep(0.05)  # so that the moments fall into all parts of a pull
        return False

    fake.rules.append(slowly)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = []
    for moment in (0.02, 0.08, 0.15, 0.25):
        child = subprocess.Popen([sys.executable, "-c", CHILD, name, str(content.root)], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        ended.append(child.wait())
        child.stdout.close()
        collect(content)
        for image in Containers(content).images():
            assert len(Containers(content).layers_of(image)) == 3
    assert -signal.SIGKILL in ended
    image = pull(name, content, platform=AMD64, keyring=Keyring(), registries=quick)
    for index, layer in enumerate(Containers(content).layers_of(image)):
        assert sorted(path.name for path in layer.iterdir()) == sorted(f"f{index}-{number}" for number in range(300))
    collect(content)
    left = {path.name for path in content.layers.iterdir() if path.is_dir()}
    assert left == {diff_id.removeprefix("sha256:") for diff_id in image.diff_ids}
    assert [path for path in content.ingests.iterdir() if path.name not in {blob.digest[7:] for blob in image.layers}] == []
