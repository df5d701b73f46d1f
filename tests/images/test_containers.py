"""Container images by their names and IDs: found, renamed, needed by containers, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, StateError, UsageError
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.flat import import_tar
from gasang.images.reference import parse_reference
from gasang.images.registry.platform import parse_platform
from support.tars import Item, archive

AMD64 = parse_platform("linux/amd64")


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(Content(tmp_path / "store"))


def add(containers: Containers, name: str, text: bytes = b"x") -> ContainerImage:
    return import_tar([archive([Item("file", text)])], containers.content, parse_reference(name), platform=AMD64)


def test_names_and_ids(containers: Containers) -> None:
    assert containers.images() == []
    image = add(containers, "app:1")
    for text in ("app:1", "docker.io/library/app:1", image.id, image.id[7:], image.id[7:19], image.digest):
        assert containers.find(text).digest == image.digest
    assert image.platform == AMD64
    assert image.created.endswith("Z")
    assert image.compressed_size == image.layers[0].size
    for text in ("app", "app:2", "f" * 13, "other/app:1"):
        with pytest.raises(NotFoundError, match=f"image {text}: it is not here; try gasang pull {text}"):
            containers.find(text)
    with pytest.raises(UsageError):
        containers.find("no name")


def test_ids_that_begin_alike(containers: Containers) -> None:
    made = [add(containers, f"app:{number}", b"%d" % number) for number in range(17)]
    firsts = [image.id[7] for image in made]
    shared = next(sign for sign in firsts if firsts.count(sign) > 1)
    with pytest.raises(StateError, match="images begin so; write more of it"):
        containers.find(shared)


def test_several_names(containers: Containers) -> None:
    image = add(containers, "app:1")
    containers.tag(image.manifest, parse_reference("localhost:5000/app:1"))
    both = ("docker.io/library/app:1", "localhost:5000/app:1")
    assert containers.find("app:1").references == both
    with pytest.raises(StateError, match="it has several names; name one, or force it"):
        containers.remove(image.id)
    assert containers.remove("app:1") == ([both[0]], [])
    assert containers.find("localhost:5000/app:1").references == both[1:]
    assert containers.remove(image.id[7:19]) == ([both[1]], [image.id])
    assert containers.images() == []
    assert list(containers.content.blobs.iterdir()) == []
    assert not containers.layers.has(image.diff_ids[0])


def test_all_names_by_force(containers: Containers) -> None:
    image = add(containers, "app:1")
    containers.tag(image.manifest, parse_reference("app:2"))
    taken, deleted = containers.remove(image.id, force=True)
    assert (len(taken), deleted) == (2, [image.id])


def test_what_a_container_needs(containers: Containers) -> None:
    image = add(containers, "app:1")
    containers.pin("box", image)
    with pytest.raises(StateError, match="image app:1: container box needs it; remove that first, or force it"):
        containers.remove("app:1")
    assert containers.remove("app:1", force=True) == (["docker.io/library/app:1"], [])
    assert [path.joinpath("file").read_bytes() for path in containers.layers_of(containers.load(image.manifest))] == [b"x"]
    containers.unpin("box")
    size = sum(path.stat().st_size for path in containers.content.blobs.iterdir())
    assert containers.prune() == ([], size)
    assert list(containers.content.blobs.iterdir()) == []


def test_pruning(containers: Containers) -> None:
    old, kept, used = add(containers, "app:1", b"old"), add(containers, "app:2", b"kept"), add(containers, "app:3", b"used")
    add(containers, "app:1", b"new")
    containers.pin("box", used)
    gone, freed = containers.prune()
    assert [image.digest for image in gone] == [old.digest]
    assert freed > old.compressed_size
    gone, _ = containers.prune(everything=True)
    assert {image.digest for image in gone} >= {kept.digest}
    assert [image.digest for image in containers.images()] == [used.digest]


def test_layers_are_shared_and_unpacked_again_where_they_are_missing(containers: Containers) -> None:
    first = add(containers, "app:1", b"same")
    second = add(containers, "app:2", b"same")
    assert first.diff_ids == second.diff_ids
    assert containers.layers_of(first) == containers.layers_of(second)
    containers.remove("app:1")
    (path,) = containers.layers_of(second)
    assert (path / "file").read_bytes() == b"same"
    import shutil

    shutil.rmtree(path.parent)
    assert containers.layers_of(second) == [path]
    assert containers.size(second) == 4


def test_damaged_images(containers: Containers) -> None:
    image = add(containers, "app:1")
    path = containers.content.path(image.layers[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert containers.images() == []
    with pytest.raises(BadInputError, match=r"image docker\.io/library/app:1: part of it is damaged in the store"):
        containers.find("app:1")
