"""Clients that vanish in the middle of something: the engine goes on, and nothing of theirs is left."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile

import pytest

from support.engines.client import until
from support.engines.http import ask, call, connected, head
from support.engines.leftovers import counts, grown
from support.engines.rootfs import Image, add, layer


@pytest.fixture(autouse=True)
def _nothing_left(docker, engine, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", "while :; do echo noise; usleep 1000; done")
    before = counts(engine)
    yield
    assert call(engine, "GET", "/_ping")[0] == 200
    assert docker.format(name, "{{.State.Running}}") == "true"
    try:
        until(lambda: not grown(engine, before))
    except AssertionError:
        raise AssertionError(f"left (before, now): {grown(engine, before)}") from None


@pytest.mark.parametrize(
    "path",
    [
        "/containers/K/logs?follow=1&stdout=1",
        "/containers/K/stats?stream=1",
        "/events",
        "/containers/K/export",
        "/containers/K/archive?path=/bin",
    ],
)
def test_streams(engine, name, path):
    for _ in range(3):
        with connected(engine) as client:
            ask(client, "GET", path.replace("K", name))
            client.recv(100)


@pytest.mark.parametrize("condition", ["not-running", "next-exit", "removed"])
def test_waiting(engine, name, condition):
    for _ in range(3):
        with connected(engine) as client:
            ask(client, "POST", f"/containers/{name}/wait?condition={condition}")
            head(client)


def test_attached(engine, name):
    for _ in range(3):
        with connected(engine) as client:
            ask(client, "POST", f"/containers/{name}/attach?stream=1&stdin=1&stdout=1", b"", ("Connection: Upgrade", "Upgrade: tcp"))
            head(client)


def test_attached_before_the_start(docker, engine, image, box):
    """Who goes before the container starts is let go of when it does."""
    waiting = box()
    key = docker("create", "-i", "--name", waiting, image, "cat").text
    for _ in range(3):
        with connected(engine) as client:
            ask(client, "POST", f"/containers/{key}/attach?stream=1&stdin=1&stdout=1", b"", ("Connection: Upgrade", "Upgrade: tcp"))
            head(client)
    docker("start", waiting)
    docker("rm", "-f", waiting)


def test_exec(docker, engine, name):
    """The process goes on, as with Docker."""
    client = docker.open("exec", name, "sh", "-c", "echo begun; usleep 700000; touch /went-on")
    assert client.stdout.readline() == b"begun\n"
    client.kill()
    until(lambda: docker("exec", name, "ls", "/went-on", code=None).code == 0)


def test_build(docker, image):
    """A build ends with its client, also while a step says nothing."""
    before = docker("ps", "-aq").lines
    client = docker.open("build", "--no-cache", "-")
    client.stdin.write(f"FROM {image}\nRUN echo begun && sleep 1000\n".encode())
    client.stdin.close()
    while b"begun" not in (line := client.stdout.readline()) or line.startswith(b"Step"):
        assert line
    client.send_signal(signal.SIGKILL)
    until(lambda: docker("ps", "-aq").lines == before)


def test_build_before_its_context_is_whole(engine, image):
    for sent in (b"", b"FROM", os.urandom(70000)):
        with connected(engine) as client:
            ask(client, "POST", "/build", None, ("Content-Length: 1000000",))
            client.sendall(sent)


@pytest.mark.parametrize(
    "path", ["/containers/K/archive?path=/tmp", "/images/load", "/images/create?fromSrc=-", "/containers/create", "/commit?container=K"]
)
def test_bodies_that_break_off(engine, name, path):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        add(archive, "file", data=bytes(100_000))
    with connected(engine) as client:
        ask(client, "PUT" if "archive" in path else "POST", path.replace("K", name), None, ("Content-Length: 1000000",))
        client.sendall(output.getvalue())


def test_pull(docker, engine, registry, fresh):
    """What is pulled is there or not, whole in either case."""
    registry.put("vanished:1", Image([layer({f"file{number}": os.urandom(2 << 20)}) for number in range(3)], {"Cmd": ["x"]}))
    whole = f"{registry.host}/vanished:1"
    with connected(engine) as client:
        ask(client, "POST", f"/images/create?fromImage={registry.host}/vanished&tag=1")
        client.recv(100)
    docker("pull", whole)
    assert len(json.loads(call(engine, "GET", f"/images/{whole}/json")[2])["RootFS"]["Layers"]) == 3
    docker("rmi", whole)
