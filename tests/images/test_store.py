"""The content store: what is visible is whole, whatever happens to whoever was writing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, StateError
from gasang.images.descriptors import Blob, parse_index
from gasang.images.store import DISK, INITRD, KERNEL, Image, Store
from support.small_disk import small_disk

NAME = "debian:trixie"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def add(store: Store, reference: str = NAME, disk: bytes = b"disk", kernel: bytes = b"kernel") -> Image:
    with store.changing():
        layers = [store.add_bytes(disk, DISK), store.add_bytes(kernel, KERNEL)]
        return store.tag(reference, layers, {"kind": "vm", "name": reference})


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs" / "sha256").iterdir()}


def leftovers(store: Store) -> list[Path]:
    return list(store.root.glob(".new-*"))


def test_what_was_added_is_found(store: Store) -> None:
    assert store.images() == []
    image = add(store)
    assert Store(store.root).images() == [image]
    assert store.resolve(NAME) == image
    assert image.config == {"kind": "vm", "name": NAME}
    assert image.size == len(b"diskkernel")
    assert store.path(image.layer(DISK)).read_bytes() == b"disk"
    assert len(blobs(store)) == 4
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_what_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"image debian:sid: it is not here; try gasang pull debian:sid"):
        store.resolve("debian:sid")
    image = add(store)
    with pytest.raises(BadInputError, match="it has no initrd part"):
        image.layer(INITRD)
    with store.changing(), pytest.raises(NotFoundError):
        store.remove("debian:sid")


def test_images_come_by_name(store: Store) -> None:
    for name in ("debian:trixie", "debian:bookworm", "debian:sid"):
        add(store, name)
    assert [image.reference for image in store.images()] == ["debian:bookworm", "debian:sid", "debian:trixie"]


def test_a_shared_blob_outlives_one_of_its_images(store: Store) -> None:
    first = add(store, "debian:sid", disk=b"one")
    second = add(store, NAME, disk=b"two")
    with store.changing():
        assert store.remove("debian:sid") == first
    assert store.images() == [second]
    assert store.path(second.layer(KERNEL)).read_bytes() == b"kernel"
    assert not store.path(first.layer(DISK)).exists()
    with store.changing():
        store.remove(NAME)
    assert blobs(store) == set()


def test_a_second_image_of_a_name_replaces_the_first(store: Store) -> None:
    first = add(store, disk=b"old")
    second = add(store, disk=b"new")
    assert store.images() == [second]
    assert not store.path(first.layer(DISK)).exists()


def test_one_change_at_a_time(store: Store) -> None:
    with store.changing(), pytest.raises(StateError, match="another gasang is changing it"), Store(store.root).changing():
        pass
    with Store(store.root).changing():  # given back
        pass


def test_a_change_that_fails_leaves_nothing(store: Store) -> None:
    image = add(store)
    before = blobs(store)

    def fail() -> None:
        with store.changing():
            store.add_bytes(b"something else", DISK)
            with store.writer(DISK) as writer:
                writer.write(b"half of")
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert blobs(store) == before
    assert leftovers(store) == []
    assert store.images() == [image]


CHILD = """
import os, signal, sys
from pathlib import Path
from gasang.images import store as s
store = s.Store(Path(sys.argv[1]))
moment, count = sys.argv[2], int(sys.argv[3])
calls = 0
original = getattr(os, moment)
def dying(*arguments, **options):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
setattr(os, moment, dying)
with store.changing():
    layers = [store.add_bytes(b"new disk", s.DISK), store.add_bytes(b"kernel", s.KERNEL)]
    store.tag("debian:trixie", layers, {"new": True})
print("done")
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_process_killed_at_any_moment_changes_nothing_or_all(moment: str, tmp_path: Path) -> None:
    """Before each of the steps that make something visible: two layers, the configuration, the manifest, the index."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    died = 0
    for count in range(1, 9):
        store = Store(tmp_path / f"{count}")
        old = add(store, disk=b"old disk")
        command = [sys.executable, "-c", CHILD, str(store.root), moment, str(count)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        if child.returncode == 0:
            assert child.stdout == "done\n"
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
        died += 1
        assert store.images() == [old]
        with store.changing():
            pass
        assert len(blobs(store)) == 4
        assert leftovers(store) == []
    assert died == 5


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with small_disk(tmp_path / "small", 1024) as place:
        yield place


def test_a_full_disk_is_told_and_leaves_nothing(small: Path) -> None:
    store = Store(small / "store")
    image = add(store)
    before = blobs(store)
    with pytest.raises(OutOfSpaceError, match="no space is left"):
        add(store, disk=os.urandom(2 << 20), kernel=bytes(100_000))
    assert blobs(store) == before
    assert leftovers(store) == []
    assert store.images() == [image]
    add(store, "debian:sid", disk=bytes(500_000))  # the space was given back


def test_a_disk_that_is_full_from_the_start(small: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small / "all").write_bytes(bytes(2 << 20))
    with pytest.raises(OutOfSpaceError):
        add(Store(small / "store"))


def spoil(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [spoil, shorten, Path.unlink])
@pytest.mark.parametrize("part", ["manifest", "config"])
def test_a_damaged_document_is_told_and_the_image_can_be_removed(part: str, damage: Callable[[Path], None], store: Store) -> None:
    other = add(store, "debian:sid", disk=b"other")
    image = add(store)
    manifest = store.root / "blobs" / "sha256" / image.digest.removeprefix("sha256:")
    config = json.loads(manifest.read_bytes())["config"]["digest"].removeprefix("sha256:")
    damage(manifest if part == "manifest" else manifest.with_name(config))
    for read in (store.images, lambda: store.resolve(NAME)):
        with pytest.raises(BadInputError, match=r"image debian:trixie: .*remove it and pull it again"):
            read()
    assert store.resolve("debian:sid") == other
    with store.changing():
        assert store.remove(NAME).digest == image.digest
    assert store.images() == [other]
    assert len(blobs(store)) == 4


@pytest.mark.parametrize("damage", [shorten, Path.unlink])
def test_a_layer_cut_off_or_gone_is_told(damage: Callable[[Path], None], store: Store) -> None:
    image = add(store)
    damage(store.path(image.layer(DISK)))
    with pytest.raises(BadInputError, match="image debian:trixie: part of it"):
        store.resolve(NAME)
    assert add(store) == store.resolve(NAME)  # pulled again


def test_a_damaged_image_does_not_keep_others_from_being_added(store: Store) -> None:
    image = add(store, "debian:sid")
    spoil(store.root / "blobs" / "sha256" / image.digest.removeprefix("sha256:"))
    assert add(store) == store.resolve(NAME)


INDEXES = (
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"manifests": 1}', b'{"manifests": [1]}', b'{"manifests": [{}]}', b"[" * 100_000,
    b'{"manifests": [{"digest": "sha256:../../../../etc/passwd", "size": 3}]}',
    b'{"manifests": [{"digest": "sha256:%s", "size": -3}]}' % (b"0" * 64),
    b'{"manifests": [{"digest": "sha256:%s", "size": true}]}' % (b"0" * 64),
    b'{"manifests": [{"digest": "sha256:%s", "size": 3, "annotations": []}]}' % (b"0" * 64),
    b'{"manifests": [{"digest": "sha256:%s", "size": 3, "annotations": {"a": 1}}]}' % (b"0" * 64),
)  # fmt: skip


@pytest.mark.parametrize("index", INDEXES)
def test_a_damaged_index_is_told_and_loses_nothing(index: bytes, store: Store) -> None:
    add(store)
    before = blobs(store)
    (store.root / "index.json").write_bytes(index)
    for act in (store.images, lambda: store.resolve(NAME), lambda: add(store)):
        with pytest.raises(BadInputError, match=r"remove its index\.json and pull again"):
            act()
    assert before <= blobs(store)
    (store.root / "index.json").unlink()
    assert add(store) == store.resolve(NAME)


KEYS = st.sampled_from(["manifests", "digest", "size", "annotations", "mediaType"])
DOCUMENTS = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(raw=st.binary() | DOCUMENTS.map(lambda document: json.dumps(document).encode()))
@settings(max_examples=300, deadline=None)
def test_an_index_is_read_or_refused(raw: bytes) -> None:
    try:
        entries = parse_index(raw, "store")
    except BadInputError:
        return
    assert all(entry.manifest.digest.startswith("sha256:") and entry.manifest.size >= 0 for entry in entries)


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b"{}", b'{"config": {}, "layers": []}', b'{"layers": 7}'])
def test_an_index_that_names_something_else_as_manifest(content: bytes, store: Store) -> None:
    add(store)
    path = store.root / "index.json"
    with store.changing():
        blob = store.add_bytes(content, KERNEL)
        path.write_text(json.dumps({"manifests": [blob.descriptor()]}))
    with pytest.raises(BadInputError, match="pull it again"):
        store.images()


def test_a_manifest_that_is_a_disk_is_not_read(store: Store) -> None:
    add(store)
    disk = Blob(DISK, "sha256:" + "1" * 64, 1 << 40)
    with store.path(disk).open("wb") as file:
        file.truncate(1 << 40)
    (store.root / "index.json").write_text(json.dumps({"manifests": [disk.descriptor()]}))
    with pytest.raises(BadInputError, match="too long"):
        store.images()


@given(parts=st.lists(st.binary(max_size=3000), max_size=6))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_in_pieces_is_read_whole(parts: list[bytes], store: Store) -> None:
    with store.changing():
        with store.writer(INITRD) as writer:
            for part in parts:
                writer.write(part)
        image = store.tag(NAME, [writer.blob], {})
    assert store.path(image.layer(INITRD)).read_bytes() == b"".join(parts)
    assert len(blobs(store)) == 3


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GasangError, match="writing failed"), Store(tmp_path / "file" / "store").changing():
        pass
