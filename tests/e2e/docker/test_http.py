"""The HTTP interface itself: what clients rely on that commands do not show. Bytes on the socket, no library."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time

import pytest

from support.engines.client import until
from support.engines.http import ask, call, connected, head, whole


@pytest.fixture
def made(docker, image, name):
    """A container that was created: it reads from its input what to print."""
    return docker("create", "-i", "--name", name, image, "sh", "-c", "read line; echo $line; echo err >&2; cat").text


def test_ping(engine):
    for method in ("HEAD", "GET"):
        status, headers, body = call(engine, method, "/_ping")
        assert status == 200
        assert re.fullmatch(r"1\.\d+", headers["api-version"])
        assert headers["ostype"] == "linux"
        assert "docker-experimental" in headers
        assert headers["content-type"].startswith("text/plain")
        assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert body in (b"", b"OK")


def test_several_requests_on_a_connection(engine):
    with connected(engine) as client:
        for path in ("/_ping", "/version", "/v1.41/info", "/nowhere", "/_ping"):
            ask(client, "GET", path)
            status, _, _ = whole(client)
            assert status == (404 if path == "/nowhere" else 200)


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41"])
def test_versions(engine, version):
    assert call(engine, "GET", f"/v{version}/containers/json")[0] == 200


@pytest.mark.parametrize("version", ["1.11", "9.99"])
def test_versions_that_are_not_spoken(engine, version):
    status, _, body = call(engine, "GET", f"/v{version}/containers/json")
    assert status == 400
    assert re.search(r"client version .* is too (old|new)", json.loads(body)["message"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("GET", "/v1.41/no/such/page", None, 404, "page not found"),
        ("GET", "/v1.41/containers/nobody/json", None, 404, "No such container: nobody"),
        ("GET", "/v1.41/images/nothing:here/json", None, 404, "No such image: nothing:here"),
        ("POST", "/v1.41/containers/create", {"Image": "nothing:here"}, 404, "No such image: nothing:here"),
        ("POST", "/v1.41/containers/create", b"{broken", 400, ""),
        ("POST", "/v1.41/containers/create", b"", 400, ""),
        ("POST", "/v1.41/containers/create", b'{"Image": 5}', 400, ""),
        ("POST", "/v1.41/containers/create?name=a%2Fb", {"Image": "busybox:e2e"}, 400, "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("GET", "/v1.41/networks/nothing", None, 404, "network nothing not found"),
        ("GET", "/v1.41/volumes/nothing", None, 404, "no such volume"),
        ("GET", "/v1.41/exec/nothing/json", None, 404, "No such exec instance"),
        ("GET", "/v1.41/containers/json?filters=broken", None, 400, ""),
        ("POST", "/v1.41/containers/nobody/start", None, 404, "No such container: nobody"),
        ("DELETE", "/v1.41/containers/nobody", None, 404, "No such container: nobody"),
    ],
)
@pytest.mark.usefixtures("image")
def test_errors(engine, method, path, body, status, sentence):
    found, headers, data = call(engine, method, path, body)
    assert found == status, data
    assert headers["content-type"].startswith("application/json")
    assert sentence in json.loads(data)["message"]


@pytest.mark.parametrize(
    "garbage", [b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /_ping HTTP/1.1\r\nbroken header\r\n\r\n"]
)
def test_what_is_no_http(engine, garbage):
    with connected(engine) as client:
        client.sendall(garbage)
        assert head(client)[0] in (400, 404, 505)
    assert call(engine, "GET", "/_ping")[0] == 200


def frames(client, end=None):
    """Read multiplexed frames to the end, or until `end` was seen: what each stream said."""
    found = {1: b"", 2: b""}
    data = b""
    while chunk := client.recv(65536):
        data += chunk
        while len(data) >= 8 and len(data) >= 8 + struct.unpack(">I", data[4:8])[0]:
            size = struct.unpack(">I", data[4:8])[0]
            assert data[1:4] == b"\0\0\0"
            found[data[0]] += data[8 : 8 + size]
            data = data[8 + size :]
        if end is not None and end in found[1]:
            break
    return found


def attach(client, key, upgrade=True, query="stream=1&stdin=1&stdout=1&stderr=1", version="v1.42"):
    """Attach; the answer's status and headers."""
    ask(client, "POST", f"/{version}/containers/{key}/attach?{query}", b"", ("Connection: Upgrade", "Upgrade: tcp") if upgrade else ())
    return head(client)


def test_attach_wait_start_as_the_client_does(engine, made):
    """The answers' heads of attach and wait come before the start; a half-closed stdin still lets the output through."""
    with connected(engine) as stream, connected(engine) as waiting:
        status, headers = attach(stream, made)
        assert (status, headers["connection"].lower(), headers["upgrade"]) == (101, "upgrade", "tcp")
        assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
        ask(waiting, "POST", f"/v1.42/containers/{made}/wait?condition=next-exit")
        assert head(waiting)[0] == 200
        assert call(engine, "POST", f"/v1.42/containers/{made}/start")[0] == 204
        stream.sendall(b"first\nrest")
        stream.shutdown(socket.SHUT_WR)
        assert frames(stream) == {1: b"first\nrest", 2: b"err\n"}
        assert b'"StatusCode":0' in waiting.recv(65536).replace(b" ", b"")


def test_attach_without_an_upgrade(engine, made):
    with connected(engine) as stream:
        status, headers = attach(stream, made, upgrade=False)
        assert status == 200
        assert "raw-stream" in headers["content-type"] or "multiplexed" in headers["content-type"]
        call(engine, "POST", f"/v1.41/containers/{made}/start")
        stream.sendall(b"x\n")
        stream.shutdown(socket.SHUT_WR)
        assert frames(stream) == {1: b"x\n", 2: b"err\n"}


def test_media_type_of_older_versions(engine, made):
    with connected(engine) as stream:
        assert attach(stream, made, version="v1.41")[1]["content-type"] == "application/vnd.docker.raw-stream"


def test_a_terminal_is_raw(engine, docker, image, name):
    key = docker("create", "-it", "--name", name, image, "sh", "-c", "read x; echo got $x").text
    with connected(engine) as stream:
        status, headers = attach(stream, key)
        assert (status, headers["content-type"]) == (101, "application/vnd.docker.raw-stream")
        call(engine, "POST", f"/v1.42/containers/{key}/start")
        stream.sendall(b"typed\n")
        data = b""
        while chunk := stream.recv(4096):
            data += chunk
        assert data == b"typed\r\ngot typed\r\n"


@pytest.mark.parametrize("size", [5, 300_000])
def test_input_that_comes_with_the_request(engine, docker, image, name, size):
    """A client that does not wait for the answer: nothing of what it sends is lost, also where the process takes its time."""
    if engine.name == "dockerd":
        pytest.skip("dockerd forgets what it has read of it")
    key = docker("create", "-i", "--name", name, image, "sh", "-c", "usleep 300000; wc -c; echo over").text
    with connected(engine) as stream:
        upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        query = "stream=1&stdin=1&stdout=1"
        head_ = f"POST /v1.42/containers/{key}/attach?{query} HTTP/1.1\r\nHost: docker\r\n{upgrade}"
        sender = threading.Thread(target=lambda: (stream.sendall(head_.encode() + b"x" * size), stream.shutdown(socket.SHUT_WR)))
        sender.start()
        status, _ = head(stream)
        assert status == 101
        call(engine, "POST", f"/v1.42/containers/{key}/start")
        assert frames(stream, b"over\n")[1] == f"{size}\nover\n".encode()
        sender.join()


def test_input_that_comes_with_the_request_of_an_exec(engine, docker, image, name):
    if engine.name == "dockerd":
        pytest.skip("dockerd forgets what it has read of it")
    docker("run", "-d", "--name", name, image, "sleep", "60")
    wanted = {"AttachStdin": True, "AttachStdout": True, "Cmd": ["cat"]}
    key = json.loads(call(engine, "POST", f"/containers/{name}/exec", wanted)[2])["Id"]
    body = b"{}"
    lines = [f"POST /v1.42/exec/{key}/start HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: tcp"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    with connected(engine) as stream:
        stream.sendall("\r\n".join(lines).encode() + body + b"early\n")
        assert head(stream)[0] == 101
        stream.sendall(b"late\n")
        stream.shutdown(socket.SHUT_WR)
        assert frames(stream)[1] == b"early\nlate\n"


def test_attach_with_what_was_said_before(engine, docker, image, name):
    key = docker("run", "-d", "-i", "--name", name, image, "sh", "-c", "echo early; cat").text
    until(lambda: docker("logs", name).text == "early")
    with connected(engine) as stream:
        attach(stream, key, query="logs=1&stream=1&stdin=1&stdout=1&stderr=1")
        stream.sendall(b"late\n")
        assert frames(stream, b"late\n")[1] == b"early\nlate\n"


def test_two_attached_clients_see_the_same(engine, docker, image, name):
    key = docker("create", "-i", "--name", name, image, "cat").text
    with connected(engine) as first, connected(engine) as second:
        attach(first, key)
        attach(second, key, query="stream=1&stdout=1")
        call(engine, "POST", f"/v1.42/containers/{key}/start")
        first.sendall(b"both\n")
        assert frames(first, b"both\n")[1] == b"both\n"
        assert frames(second, b"both\n")[1] == b"both\n"


def test_start_twice_is_not_modified(engine, docker, image, name):
    key = docker("run", "-d", "--name", name, image, "sleep", "60").text
    assert call(engine, "POST", f"/v1.41/containers/{key}/start")[0] == 304
    assert call(engine, "POST", f"/v1.41/containers/{key}/stop?t=0")[0] == 204
    assert call(engine, "POST", f"/v1.41/containers/{key}/stop")[0] == 304
    assert call(engine, "POST", f"/v1.41/containers/{key}/kill")[0] == 409
    assert call(engine, "DELETE", f"/v1.41/containers/{key}")[0] == 204


def test_wait_of_what_has_ended_is_at_once(engine, docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "exit 6", code=6)
    status, _, body = call(engine, "POST", f"/v1.41/containers/{name}/wait")
    assert (status, json.loads(body)["StatusCode"]) == (200, 6)


def test_wait_for_removal(engine, docker, image, name):
    key = docker("create", "--name", name, image, "true").text
    with connected(engine) as waiting:
        ask(waiting, "POST", f"/v1.41/containers/{key}/wait?condition=removed")
        assert head(waiting)[0] == 200
        call(engine, "POST", f"/v1.41/containers/{key}/start")
        until(lambda: docker.format(name, "{{.State.Status}}") == "exited")
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.settimeout(20)
        call(engine, "DELETE", f"/v1.41/containers/{key}")
        assert b'"StatusCode":0' in waiting.recv(65536).replace(b" ", b"")


def test_bodies_in_chunks_are_read(engine, image):
    data = json.dumps({"Image": image, "Cmd": ["true"]}).encode()
    with connected(engine) as client:
        ask(client, "POST", "/v1.41/containers/create", None, ("Transfer-Encoding: chunked", "Content-Type: application/json"))
        client.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
        status, _, body = whole(client)
    assert status == 201, body
    assert json.loads(body)["Warnings"] in ([], None)
    assert call(engine, "DELETE", f"/v1.41/containers/{json.loads(body)['Id']}")[0] == 204


def test_errors_after_the_start_of_an_answer_are_lines(engine, registry):
    status, headers, body = call(engine, "POST", f"/v1.41/images/create?fromImage={registry.host}/nothing&tag=here", b"")
    if status == 200:
        last = json.loads(body.splitlines()[-1])
        assert last["errorDetail"]["message"] == last["error"]
    else:
        assert status == 404
        assert "manifest unknown" in json.loads(body)["message"]
    assert headers["content-type"].startswith("application/json")


def test_clients_that_vanish_do_no_harm(engine, docker, image, name):
    key = docker("run", "-d", "-i", "--name", name, image, "sh", "-c", "while :; do echo noise; done").text
    paths = (f"/containers/{key}/logs?follow=1&stdout=1", f"/containers/{key}/stats?stream=1", "/events", f"/containers/{key}/export")
    for path in paths:
        with connected(engine) as client:
            ask(client, "GET", path)
            client.recv(100)
    with connected(engine) as client:
        attach(client, key)
        client.recv(100)
    assert call(engine, "GET", "/_ping")[0] == 200
    assert docker.format(name, "{{.State.Running}}") == "true"


def test_a_client_that_does_not_read_stops_nobody_else(engine, docker, image, name):
    """While one attached client does not read, others are served."""
    key = docker("run", "-d", "--name", name, image, "sh", "-c", "while :; do echo noise; done").text
    with connected(engine) as lazy:
        attach(lazy, key, query="stream=1&stdout=1")
        begin = time.monotonic()
        for _ in range(10):
            assert call(engine, "GET", "/containers/json")[0] == 200
        assert time.monotonic() - begin < 10


def test_many_connections(engine):
    answers = []
    workers = [threading.Thread(target=lambda: answers.append(call(engine, "GET", "/version")[0])) for _ in range(40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert answers == [200] * 40


def test_what_is_not_there_says_so(engine):
    """Swarm is off in Docker and absent here: both refuse with a sentence."""
    status, _, body = call(engine, "GET", "/v1.41/services")
    assert status in (501, 503)
    assert json.loads(body)["message"]
