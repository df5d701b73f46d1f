"""Archives of images: ours are loaded by us and skopeo, those of others by us, and damaged ones by nobody."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, NotFoundError
from gasang.images.archives.load import load, load_layout
from gasang.images.archives.save import save, save_layout
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import collect
from gasang.images.registry.platform import parse_platform
from support.fake_registry import Made, digest_of, make_image
from support.tars import Item, archive, folder, packed, symlink

AMD64 = parse_platform("linux/amd64")
NAME = "docker.io/library/app:1"


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "store")


def made() -> Made:
    return make_image([archive([Item("a", b"one")]), archive([Item("b", b"two" * 5000)])])


def layout_items(image: Made, notes: dict[str, str] | None = None) -> list[Item]:
    """An OCI layout as the entries of an archive."""
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest), "annotations": notes or {}}
    blobs = {**image.blobs, image.digest: image.manifest}
    return [
        Item("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        Item("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()),
        *(Item(f"blobs/sha256/{digest[7:]}", data) for digest, data in blobs.items()),
    ]


def old_items(image: Made, archives: list[bytes], tags: list[str]) -> list[Item]:
    """What Docker wrote before version 25: a folder a layer, the second one a link to the first where they are the same."""
    config = f"{digest_of(image.config)[7:]}.json"
    items, names, first = [], [], {}
    for index, data in enumerate(archives):
        name = f"{index:064x}"
        items += [folder(name), Item(f"{name}/VERSION", b"1.0")]
        if data in first:
            items.append(symlink(f"{name}/layer.tar", f"../{first[data]}/layer.tar"))
        else:
            items.append(Item(f"{name}/layer.tar", data))
            first[data] = name
        names.append(f"{name}/layer.tar")
    manifest = [{"Config": config, "RepoTags": tags, "Layers": names}]
    return [*items, Item(config, image.config), Item("manifest.json", json.dumps(manifest).encode())]


def loaded(content: Content, items: list[Item], **options: str) -> list[ContainerImage]:
    return load([archive(items)], content, platform=AMD64, **options)


def held(content: Content, image: ContainerImage) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for layer in Containers(content).layers_of(image) for path in layer.iterdir()}


EXPECTED = {"a": b"one", "b": b"two" * 5000}


def test_layouts(content: Content) -> None:
    image = made()
    (found,) = loaded(content, layout_items(image, {"io.containerd.image.name": NAME}))
    assert (found.digest, found.id, found.references) == (image.digest, digest_of(image.config), (NAME,))
    assert held(content, found) == EXPECTED
    (again,) = loaded(content, layout_items(image, {"org.opencontainers.image.ref.name": "latest"}), name="other:2")
    assert again.references == (NAME, "docker.io/library/other:2")
    collect(content)
    assert held(content, Containers(content).find("other:2")) == EXPECTED


def test_what_docker_wrote_before(content: Content) -> None:
    one = archive([Item("a", b"one")])
    image = make_image([one, archive([Item("b", b"two" * 5000)]), one])
    archives = [one, archive([Item("b", b"two" * 5000)]), one]
    (found,) = loaded(content, old_items(image, archives, ["app:1", "localhost:5000/app:x"]))
    assert found.references == (NAME, "localhost:5000/app:x")
    assert found.id == digest_of(image.config)
    assert found.layers[0].media_type == "application/vnd.oci.image.layer.v1.tar"
    assert held(content, found) == EXPECTED


def test_compressed_archives(content: Content) -> None:
    data = packed(archive(layout_items(made(), {"io.containerd.image.name": NAME})))
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    assert [image.references for image in load(pieces, content, platform=AMD64)] == [(NAME,)]


def test_there_and_back(content: Content, tmp_path: Path) -> None:
    image = made()
    loaded(content, layout_items(image, {"io.containerd.image.name": NAME}))
    other = make_image([archive([Item("c", b"three")])])
    loaded(content, layout_items(other))
    out = io.BytesIO()
    save(content, ["app:1", digest_of(other.config)[7:20]], out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert [item["RepoTags"] for item in manifest] == [["app:1"], []]
        assert {"oci-layout", "index.json"} < set(tar.getnames())
    second = Content(tmp_path / "second")
    found = load([out.getvalue()], second, platform=AMD64)
    assert [(image.digest, image.references) for image in found] == [(image.digest, (NAME,)), (other.digest, ())]
    assert held(second, found[0]) == EXPECTED
    save_layout(content, ["app:1"], tmp_path / "layout")
    third = Content(tmp_path / "third")
    assert [image.references for image in load_layout(tmp_path / "layout", third, platform=AMD64)] == [(NAME,)]
    with pytest.raises(NotFoundError, match="image nothing: it is not here"):
        save(content, ["nothing"], out.write)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_skopeo_reads_and_writes_the_same(form: str, content: Content, tmp_path: Path) -> None:
    image = made()
    loaded(content, layout_items(image, {"io.containerd.image.name": NAME}))
    ours = tmp_path / "ours"
    if form == "oci":
        save_layout(content, ["app:1"], ours)
        source = f"oci:{ours}"
    else:
        with ours.open("wb") as file:
            save(content, ["app:1"], file.write)
        source = f"{form}:{ours}" + (":docker.io/library/app:1" if form == "docker-archive" else "")
    theirs = tmp_path / "theirs"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, f"{form}:{theirs}:docker.io/library/app:2"], check=True)
    second = Content(tmp_path / "second")
    found = load_layout(theirs, second, platform=AMD64) if form == "oci" else load([theirs.read_bytes()], second, platform=AMD64)
    assert [(image.references, image.diff_ids) for image in found] == [(("docker.io/library/app:2",), tuple(image.diff_ids))]
    assert held(second, found[0]) == EXPECTED


def changed(items: list[Item], name: str, data: bytes | None) -> list[Item]:
    """Without a file, or with another content of it."""
    return [
        Item(item.name, data) if item.name == name and data is not None else item for item in items if item.name != name or data is not None
    ]


def test_damaged_archives(content: Content) -> None:
    image = made()
    layer = f"blobs/sha256/{image.layer(0)[7:]}"
    good = layout_items(image)
    old = old_items(image, [archive([Item("a", b"one")]), archive([Item("b", b"two" * 5000)])], ["app:1"])
    cases = [
        ([], "it holds no image"),
        (changed(good, layer, b"other"), "has another content than its name says"),
        (changed(good, layer, None), "part of it is missing"),
        (changed(good, "index.json", b"[]"), "is no JSON object"),
        (changed(good, "index.json", b'{"manifests":5}'), "its index is damaged"),
        (changed(old, "manifest.json", b"{}"), "its manifest.json is no list of images"),
        (changed(old, "manifest.json", b"\xff"), "its manifest.json is no JSON"),
        (changed(old, "manifest.json", b'[{"Config":"nowhere","Layers":[]}]'), "it lacks nowhere"),
        (changed(old, "manifest.json", b'[{"Config":1}]'), "its manifest.json is damaged"),
        (changed(old, f"{0:064x}/layer.tar", None), "it lacks 0000"),
        (changed(old, f"{0:064x}/layer.tar", archive([Item("a", b"forged")])), "another digest than the image says"),
    ]
    for items, cause in cases:
        with pytest.raises(BadInputError, match=cause):
            loaded(content, items)
        assert Containers(content).images() == []
    assert list(content.blobs.iterdir()) == []
    loop = [symlink("x", "y"), symlink("y", "x"), Item("manifest.json", b'[{"Config":"x","Layers":[]}]')]
    with pytest.raises(BadInputError, match="it lacks x"):
        loaded(content, loop)
    with pytest.raises(BadInputError, match=r"ends early|damaged"):
        load([archive(good)[:3000]], content, platform=AMD64)


def test_names_of_an_archive_lead_nowhere(content: Content, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    items = [Item("../escaped", b"x"), Item("/absolute", b"x"), symlink("manifest.json", "/etc/passwd")]
    with pytest.raises(BadInputError, match="it holds no image"):
        loaded(content, items)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*before, "store"})
    layout = tmp_path / "layout"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    os.symlink("/etc/passwd", layout / "index.json")
    with pytest.raises(BadInputError, match="it holds no image"):
        load_layout(layout, content)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 20_000), value=st.binary(min_size=1, max_size=3))
def test_a_changed_archive_is_loaded_right_or_not_at_all(content: Content, at: int, value: bytes) -> None:
    image = made()
    raw = bytearray(archive(layout_items(image, {"io.containerd.image.name": NAME})))
    raw[at : at + len(value)] = value
    try:
        found = load([bytes(raw)], content, platform=AMD64)
    except GasangError:
        return
    for image_found in found:
        assert held(content, image_found) == EXPECTED
