"""Images in the engine: listing, names, history, archives, removal, import, prune."""

from __future__ import annotations

import io
import json
import re
import tarfile

import pytest

from support.engines.rootfs import layer


def test_listing(docker, image):
    assert image in docker("images", "--format", "{{.Repository}}:{{.Tag}}").lines
    heading, *rows = docker("images", "busybox").lines
    assert heading.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert any(row.split()[:2] == ["busybox", "e2e"] for row in rows)
    short = docker("images", "-q", image).text
    assert re.fullmatch("[0-9a-f]{12}", short)
    assert docker("images", "-q", "--no-trunc", image).text == docker.inspect("image", image)["Id"]


def test_filters_of_the_listing(docker, image, fresh):
    tag = fresh("image")
    docker("import", "-c", "LABEL mark=here", "-", tag, typed=layer({"a": b"a"}))
    shown = ("images", "--format", "{{.Repository}}")
    name = tag.split(":")[0]
    assert docker(*shown, "--filter", "label=mark=here").lines == [name]
    assert docker(*shown, "--filter", f"reference={name[:-1]}*").lines == [name]
    assert name in docker(*shown, "--filter", f"since={image}").lines
    assert name not in docker(*shown, "--filter", f"before={tag}").lines


def test_inspect(docker, image):
    shown = docker.inspect("image", image)
    assert shown["RepoTags"] == [image]
    assert (shown["Os"], shown["Architecture"]) == ("linux", "amd64")
    assert shown["Config"]["Cmd"] == ["sh"]
    assert "PATH=/bin" in shown["Config"]["Env"]
    assert shown["RootFS"]["Type"] == "layers"
    assert shown["Size"] > 1_000_000
    assert shown["Comment"] == "for tests"


def test_of_nothing(docker):
    assert "No such image: nothing:here" in docker("image", "inspect", "nothing:here", code=1).said
    assert "No such image: nothing:here" in docker("rmi", "nothing:here", code=1).said
    assert "No such image: nothing:here" in docker("tag", "nothing:here", "x:y", code=1).said
    assert "No such image: nothing:here" in docker("history", "nothing:here", code=1).said
    assert re.search("nothing:here|reference does not exist", docker("save", "nothing:here", code=1).said)


def test_tag_and_untag(docker, image, fresh):
    tag = fresh("image")
    docker("tag", image, tag)
    assert docker.inspect("image", tag)["Id"] == docker.inspect("image", image)["Id"]
    assert docker("rmi", tag).text == f"Untagged: {tag}"
    docker("image", "inspect", tag, code=1)
    docker("image", "inspect", image)


def test_names_are_checked(docker, image):
    assert "invalid reference format" in docker("tag", image, "UPPER/Case", code=1).said
    assert "invalid reference format" in docker("run", "--rm", "Not//Right", code=125).said


def test_removal(docker, fresh):
    tag = fresh("image")
    key = docker("import", "-", tag, typed=layer({"only": tag.encode()})).text
    lines = docker("rmi", tag).lines
    assert lines[:2] == [f"Untagged: {tag}", f"Deleted: {key}"]
    assert len(lines) == 3


def test_removal_of_what_is_used(docker, base, name, fresh):
    tag = fresh("image")
    docker("import", "-c", 'CMD ["sleep", "60"]', "-c", "ENV PATH=/bin", "-", tag, typed=base)
    key = docker("run", "-d", "--name", name, tag).text
    said = docker("rmi", tag, code=1).said
    assert "conflict" in said
    assert key[:12] in said
    docker("stop", "-t", "0", name)
    docker("rmi", tag, code=1)
    docker("rmi", "-f", tag)
    docker("start", name)


def test_removal_by_id_of_what_has_two_names(docker, fresh):
    first, second = fresh("image"), fresh("image")
    key = docker("import", "-", first, typed=layer({"x": first.encode()})).text
    docker("tag", first, second)
    assert "force" in docker("rmi", key, code=1).said
    lines = docker("rmi", "-f", key).lines
    assert sorted(lines[:2]) == sorted([f"Untagged: {first}", f"Untagged: {second}"])


def test_history(docker, image):
    heading, row = docker("history", image).lines
    assert heading.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert row.endswith("for tests")


def test_save_and_load(docker, image, fresh, tmp_path):
    tag = fresh("image")
    key = docker("import", "-c", 'CMD ["x"]', "-", tag, typed=layer({"file": tag.encode(), "link": "file", "folder": None})).text
    docker("save", "-o", tmp_path / "image.tar", tag)
    with tarfile.open(tmp_path / "image.tar") as archive:
        listed = json.load(archive.extractfile("manifest.json"))
        assert listed[0]["RepoTags"] == [tag]
        config = json.load(archive.extractfile(listed[0]["Config"]))
        assert config["config"]["Cmd"] == ["x"]
        with tarfile.open(fileobj=archive.extractfile(listed[0]["Layers"][0])) as inner:
            assert {name.rstrip("/") for name in inner.getnames()} >= {"file", "link", "folder"}
    docker("rmi", tag)
    assert docker("load", "-i", tmp_path / "image.tar").text == f"Loaded image: {tag}"
    assert docker.inspect("image", tag)["Id"] == key


def test_save_of_several_and_load_from_a_stream(docker, fresh):
    tags = [fresh("image"), fresh("image")]
    for tag in tags:
        docker("import", "-", tag, typed=layer({"file": tag.encode()}))
    data = docker("save", *tags).out
    docker("rmi", *tags)
    assert sorted(docker("load", typed=data).lines) == sorted(f"Loaded image: {tag}" for tag in tags)


def test_load_of_what_is_no_archive(docker):
    docker("load", typed=b"this is no archive" * 100, code=1)
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    docker("load", typed=empty.getvalue(), code=1)


def hostile(kind):
    """An archive for docker load with a layer that climbs out."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        if kind == "link":
            member = tarfile.TarInfo("way")
            member.type, member.linkname = tarfile.SYMTYPE, "/var/tmp"
            archive.addfile(member)
        member = tarfile.TarInfo({"dots": "../../../../../../var/tmp/planted", "absolute": "/var/tmp/planted", "link": "way/planted"}[kind])
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    import hashlib

    data = inner.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [f"hostile:{kind}"], "Layers": ["layer.tar"]}]
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, body in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", data),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return output.getvalue()


@pytest.mark.parametrize("kind", ["dots", "absolute", "link"])
def test_a_layer_that_climbs_out_does_not(docker, kind, tmp_path):
    import os

    done = docker("load", typed=hostile(kind), code=None)
    assert not os.path.lexists("/var/tmp/planted")
    if done.code == 0:
        docker("rmi", f"hostile:{kind}")


def test_prune_of_what_has_no_name(docker, fresh):
    tag = fresh("image")
    docker("import", "-c", "LABEL prune=me", "-", tag, typed=layer({"old": tag.encode()}))
    old = docker.inspect("image", tag)["Id"]
    docker("import", "-c", "LABEL prune=me", "-", tag, typed=layer({"new": tag.encode()}))
    assert docker("images", "--filter", "dangling=true", "--filter", "label=prune=me", "-q", "--no-trunc").lines == [old]
    done = docker("image", "prune", "-f", "--filter", "label=prune=me")
    assert f"deleted: {old}" in done.lines
    docker("image", "inspect", tag)


def test_search_asks_the_hub(docker):
    """Without a network to the hub the engine says so; with one, it lists what it found."""
    done = docker("search", "--limit", "3", "busybox", code=None, seconds=120)
    assert done.code == 0 or "search" in done.said.lower() or "docker.io" in done.said
