"""An image's files: unpacked once, and refused where its configuration says what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.core.progress import Silent
from gasang.images.ready import APPEND_MAX, DISK_MAX, BootFiles, forget_ready, ready_files, ready_folder
from gasang.images.store import DISK, INITRD, KERNEL, Image, Store
from gasang.storage.sparse import pack

NAME = "debian:trixie"
SIZE = 1 << 20
GOOD: dict[str, Any] = {"kind": "vm", "disk_size": SIZE, "append": "quiet root=/dev/vda"}


def add(folder: Path, config: dict[str, Any], size: int = SIZE) -> tuple[Store, Image]:
    """A store with an image of that configuration, whose disk has `size` bytes."""
    store = Store(folder / "store")
    raw = folder / "raw"
    raw.write_bytes(b"disk".ljust(size, b"\0"))
    with store.changing():
        with store.writer(DISK) as writer:
            pack(raw, writer)  # type: ignore[arg-type]
        layers = [writer.blob, store.add_bytes(b"kernel", KERNEL), store.add_bytes(b"initrd", INITRD)]
        return store, store.tag(NAME, layers, config)


def ready(folder: Path, config: dict[str, Any], size: int = SIZE) -> BootFiles:
    store, image = add(folder, config, size)
    return ready_files(store, folder / "cache", image, Silent())


def test_files_are_made_once(tmp_path: Path) -> None:
    store, image = add(tmp_path, GOOD)
    cache = tmp_path / "cache"
    files = ready_files(store, cache, image, Silent())
    assert (files.kernel.read_bytes(), files.initrd.read_bytes(), files.append) == (b"kernel", b"initrd", GOOD["append"])
    assert files.disk.read_bytes() == b"disk".ljust(SIZE, b"\0")
    made = files.disk.stat()
    assert ready_files(store, cache, image, Silent()) == files
    assert files.disk.stat().st_mtime_ns == made.st_mtime_ns
    forget_ready(cache, image)
    assert not ready_folder(cache, image).exists()


WRONG = {
    "no size": {"append": ""},
    "a size in words": {**GOOD, "disk_size": "1048576"},
    "a size with a fraction": {**GOOD, "disk_size": 1048576.0},
    "a truth for a size": {**GOOD, "disk_size": True},
    "nothing": {**GOOD, "disk_size": 0},
    "less than nothing": {**GOOD, "disk_size": -512},
    "no whole sectors": {**GOOD, "disk_size": SIZE + 1},
    "too much": {**GOOD, "disk_size": DISK_MAX + 512},
    "another size": {**GOOD, "disk_size": 2 * SIZE},
    "less than there is": {**GOOD, "disk_size": SIZE // 2},
    "no command line": {"disk_size": SIZE},
    "a list for a command line": {**GOOD, "append": ["quiet"]},
    "a long command line": {**GOOD, "append": "x" * (APPEND_MAX + 1)},
    "a command line of two": {**GOOD, "append": "quiet\nroot=/dev/sda"},
    "a command line that ends early": {**GOOD, "append": "quiet\0"},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_configuration_that_cannot_be_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        ready(tmp_path, WRONG[what])
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("disk.raw"))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=3)


@given(config=st.dictionaries(st.sampled_from(["disk_size", "append", "kind"]), JSON))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_configuration_is_taken_or_refused(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("image")
    with pytest.raises(BadInputError, match=f"image {NAME}: "):
        ready(folder, config)


def test_a_missing_disk_is_told(tmp_path: Path) -> None:
    store, image = add(tmp_path, GOOD)
    store.path(image.layer(DISK)).unlink()
    with pytest.raises(BadInputError, match="its disk is missing from the store; remove it and pull it again"):
        ready_files(store, tmp_path / "cache", image, Silent())
