"""Pull, push and login against a real registry on the loopback."""

from __future__ import annotations

import json
import re

import pytest

from support.engines.http import call
from support.engines.registry import PASSWORD, USER
from support.engines.rootfs import Image, layer

REFUSED = "no basic auth credentials|unauthorized|denied"


@pytest.fixture(scope="module")
def layered(registry, base):
    """An image of three layers in the registry: the second hides a file and a folder's content of the first."""
    second = layer({"etc/.wh.hello": b"", "home/.wh..wh..opq": b"", "home/new": b"new\n", "etc/second": b"2\n", "link": "etc/second"})
    third = layer({"etc/second": b"changed\n", "run.sh": b"#!/bin/sh\ncat /etc/second\n"})
    found = Image([base, second, third], {"Cmd": ["sh", "/run.sh"], "Env": ["PATH=/bin"]})
    return registry.put("layered:1", found), f"{registry.host}/layered:1"


def test_pull(docker, layered):
    digest, tag = layered
    docker("rmi", tag, code=None)
    done = docker("pull", tag)
    assert f"Digest: {digest}" in done.lines
    assert f"Status: Downloaded newer image for {tag}" in done.lines
    assert done.lines[-1] == tag
    assert sum(line.endswith(": Pull complete") for line in done.lines) == 3
    assert f"Status: Image is up to date for {tag}" in docker("pull", tag).lines
    assert docker("pull", "-q", tag).text == tag
    shown = docker.inspect("image", tag)
    assert shown["RepoDigests"] == [f"{tag.rpartition(':')[0]}@{digest}"]
    assert len(shown["RootFS"]["Layers"]) == 3


def test_layers_lie_over_each_other(docker, layered):
    script = "cat /etc/second; ls /home; cat /link; test -e /etc/hello || echo hidden"
    assert docker("run", "--rm", layered[1], "sh", "-c", script).lines == ["changed", "new", "changed", "hidden"]


def test_run_pulls_what_is_missing(docker, layered):
    docker("rmi", "-f", layered[1], code=None)
    done = docker("run", "--rm", layered[1])
    assert done.text == "changed"
    assert f"Unable to find image '{layered[1]}' locally" in done.said
    assert "Pull complete" in done.said


def test_pull_by_digest(docker, layered):
    digest, tag = layered
    name = f"{tag.rpartition(':')[0]}@{digest}"
    docker("pull", name)
    assert docker("run", "--rm", name).text == "changed"


def test_pull_of_nothing(docker, registry):
    assert "manifest unknown" in docker("pull", f"{registry.host}/nothing:here", code=1).said


def test_pull_from_nowhere(docker):
    assert "connection refused" in docker("pull", "localhost:1/image:tag", code=1).said.lower()


def test_a_digest_that_does_not_match(docker, registry):
    made = Image([layer({"x": b"x"})])
    key = next(iter(made.blobs))
    registry.put("broken:1", made)
    registry.damage(key)
    assert docker("pull", f"{registry.host}/broken:1", code=1).said
    docker("image", "inspect", f"{registry.host}/broken:1", code=1)


def test_all_tags(docker, registry):
    for number in (1, 2):
        registry.put(f"tags:{number}", Image([layer({"number": b"%d" % number})]))
    docker("pull", "-a", f"{registry.host}/tags")
    assert sorted(docker("images", f"{registry.host}/tags", "--format", "{{.Tag}}").lines) == ["1", "2"]


def test_push(docker, registry, image, fresh):
    tag = f"{registry.host}/pushed/deep/name:1"
    docker("tag", image, tag)
    done = docker("push", tag)
    assert f"The push refers to repository [{registry.host}/pushed/deep/name]" in done.lines[0]
    last = done.lines[-1].split()
    assert (last[0], last[1], last[3]) == ("1:", "digest:", "size:")
    assert json.loads(registry.tags("pushed/deep/name"))["tags"] == ["1"]
    docker("rmi", tag)
    assert f"Digest: {last[2]}" in docker("pull", tag).lines
    assert docker("run", "--rm", tag, "echo", "back").text == "back"
    again = docker("push", tag)
    assert any(line.endswith(": Layer already exists") for line in again.lines)
    other = f"{registry.host}/pushed/other:1"
    docker("tag", image, other)
    assert any("Mounted from pushed/deep/name" in line or "Layer already exists" in line for line in docker("push", other).lines)


def test_push_of_nothing(docker, registry):
    assert re.search("does not exist locally with the tag|No such image", docker("push", f"{registry.host}/never:made", code=1).said)


def test_login_push_and_pull(docker, guarded, image):
    tag = f"{guarded.host}/secret:1"
    docker("tag", image, tag)
    assert re.search(REFUSED, docker("push", tag, code=1).said)
    wrong = docker("login", "-u", USER, "--password-stdin", guarded.host, typed=b"wrong", code=1)
    assert "unauthorized" in wrong.said.lower()
    assert docker("login", "-u", USER, "--password-stdin", guarded.host, typed=PASSWORD.encode()).lines[-1] == "Login Succeeded"
    try:
        docker("push", tag)
        docker("rmi", tag)
        docker("pull", tag)
    finally:
        docker("logout", guarded.host)
    docker("rmi", tag)
    assert re.search(REFUSED, docker("pull", tag, code=1).said)


def test_login_of_a_client_of_its_own(engine, guarded):
    def status(**said):
        return call(engine, "POST", "/auth", {"serveraddress": guarded.host, **said})[0]

    assert status(username=USER, password=PASSWORD) == 200
    # dockerd tells 401 of who is refused by a server of tokens alone; a registry's own refusal is a 500 to it.
    refused = 500 if engine.name == "dockerd" else 401
    assert status(username=USER, password="wrong") == refused
    assert status() == refused
    assert call(engine, "POST", "/auth", {"serveraddress": "localhost:1", "username": "a", "password": "b"})[0] == 500
    assert call(engine, "POST", "/auth", {"serveraddress": "bad host", "username": "a", "password": "b"})[0] == 400
