"""Requests that no client sends: every answer is a status and a sentence, never a fault of the engine, and it goes on serving.

Values are drawn by a fixed seed; GASANG_FUZZ (250) says how many requests. What a dockerd answers differs, so these are ours alone.
"""

from __future__ import annotations

import json
import os
import random
import urllib.parse

import pytest

from gasang.daemon.containers.settings import CONFIG, HOST_CONFIG
from support.engines.http import call, connected, whole

REQUESTS = int(os.environ.get("GASANG_FUZZ", "250"))
SURROGATE = "\ud800"
VALUES = [
    None, True, -1, 1, 2**31, 2**63, -(2**63), 2**70, 1.5, float("nan"), "", "\0", "x" * 3000, "../../etc", SURROGATE, "a=b", "a:b:c",
    "/x:/y:rw", "/", "host", "container:", "container:x", [], [[]], [None], [1], ["\0"], [SURROGATE], [""], {}, {"": {}}, {"a": None},
    {"a": "b"}, {"a": 1}, {"80/tcp": [1]}, {"80/tcp": "x"}, {"80/tcp": [{"HostPort": [1]}]}, [{}], [{"Name": 1}],
    [{"Name": "nofile", "Soft": -5, "Hard": 2**65}], [{"Name": "bogus", "Soft": 1, "Hard": 1}], [{"Path": "/dev/null", "Rate": 2**70}],
    [{"Path": "/dev/null", "Weight": 99999}], [{"PathOnHost": "/dev/null", "PathInContainer": 7}],
    [{"PathOnHost": "/dev/null", "CgroupPermissions": "zzz"}], [{"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": 5}],
    [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": -5, "Mode": -1}}], [{"Type": ["bind"], "Target": "/x"}],
    [{"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": {"Propagation": [1]}}],
]  # fmt: skip
DOCUMENTS = {
    "/containers/K/update": ["CpuShares", "Memory", "CpuPeriod", "CpusetCpus", "NanoCpus", "PidsLimit", "BlkioWeight", "RestartPolicy"],
    "/containers/K/exec": ["Cmd", "Env", "User", "WorkingDir", "Tty", "ConsoleSize", "DetachKeys", "AttachStdin", "Privileged"],
    "/networks/create": ["Name", "Driver", "Options", "IPAM", "EnableIPv6", "Internal", "Labels"],
    "/networks/bridge/connect": ["Container", "EndpointConfig"],
    "/networks/bridge/disconnect": ["Container", "Force"],
    "/volumes/create": ["Name", "Driver", "DriverOpts", "Labels"],
    "/commit?container=K": ["Cmd", "Env", "Labels", "ExposedPorts", "Volumes", "OnBuild", "Healthcheck", "User"],
    "/auth": ["username", "password", "identitytoken"],
}
QUERIES = [
    ("GET", "/containers/json", ["all", "limit", "size", "filters"]),
    ("GET", "/containers/K/logs", ["since", "until", "tail", "timestamps"]),
    ("GET", "/containers/K/top", ["ps_args"]),
    ("HEAD", "/containers/K/archive", ["path"]),
    ("PUT", "/containers/K/archive", ["path", "noOverwriteDirNonDir", "copyUIDGID"]),
    ("POST", "/containers/K/rename", ["name"]),
    ("POST", "/containers/K/resize", ["h", "w"]),
    ("POST", "/containers/create", ["name", "platform"]),
    ("POST", "/containers/prune", ["filters"]),
    ("GET", "/images/json", ["all", "filters", "filter"]),
    ("POST", "/images/create", ["fromSrc", "repo", "tag", "platform", "changes", "message"]),
    ("POST", "/images/load", ["quiet"]),
    ("POST", "/images/nothing/tag", ["repo", "tag"]),
    ("GET", "/images/get", ["names"]),
    ("GET", "/networks", ["filters"]),
    ("GET", "/volumes", ["filters"]),
    ("POST", "/build", ["dockerfile", "t", "buildargs", "labels", "target", "memory", "cpusetcpus", "networkmode", "platform", "remote"]),
    ("POST", "/commit", ["container", "repo", "tag", "author", "changes", "pause"]),
]
FILTERS = ["label", "name", "status", "id", "ancestor", "since", "before", "until", "dangling", "reference", "network", "volume", "publish"]
RAW = [
    b"GET /%00%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //[/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000,
    b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 6000\r\n\r\n" + b"1" * 6000,
]


@pytest.fixture(autouse=True)
def _ours_alone(engine):
    if engine.name != "gasang":
        pytest.skip("dockerd's answers differ")


@pytest.fixture
def ask(engine):
    """Send a request; its status and document. No status is that of a fault, and what is refused has a sentence."""

    def send(method, path, body=None):
        status, headers, data = call(engine, method, path, body)
        assert status < 500 or status == 501, (method, path, body, data)
        if status >= 400 and method != "HEAD":
            assert ": " in json.loads(data)["message"], (method, path, body, data)
        return status, json.loads(data) if headers.get("content-type") == "application/json" and data.count(b"\n") == 1 else None

    return send


@pytest.fixture
def draws():
    return random.Random(20)


@pytest.fixture
def victim(docker, image, name):
    """A container that runs, about which nonsense is asked."""
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    return name


def test_fields_of_a_container(ask, draws, image):
    """Every field gets values of wrong types and sizes. Where that makes a container it can be looked at, and it starts or says why not."""
    for _ in range(REQUESTS):
        host = draws.random() < 0.6
        field, value = draws.choice(list(HOST_CONFIG if host else CONFIG)), draws.choice(VALUES)
        document = {"Image": image, "Cmd": ["true"], **({"HostConfig": {field: value}} if host else {field: value})}
        status, made = ask("POST", "/containers/create", document)
        if status == 201:
            ask("GET", f"/containers/{made['Id']}/json")
            if draws.random() < 0.3:
                ask("POST", f"/containers/{made['Id']}/start")
            assert ask("DELETE", f"/containers/{made['Id']}?force=1&v=1")[0] == 204


def test_documents(ask, draws, victim, fresh):
    network = fresh("network")
    for _ in range(REQUESTS):
        path, fields = draws.choice(list(DOCUMENTS.items()))
        document = {field: draws.choice(VALUES) for field in draws.sample(fields, draws.randint(1, 2))}
        if path == "/networks/create":
            document = {"Name": network, **document}
        if path == "/containers/K/exec":
            document.setdefault("Cmd", ["true"])
        if path == "/auth":
            document["serveraddress"] = draws.choice([1, [], {}, "a b", SURROGATE, "[::", "x?y"])
        status, made = ask("POST", path.replace("K", victim), document if path == "/auth" or draws.random() < 0.9 else draws.choice(VALUES))
        if status == 201 and path.endswith("/exec"):
            ask("POST", f"/exec/{made['Id']}/start", {"Detach": True, "ConsoleSize": draws.choice(VALUES)})
            ask("GET", f"/exec/{made['Id']}/json")
        if status == 201 and path.startswith(("/networks", "/volumes")):
            ask("DELETE", f"{path.removesuffix('/create')}/{made.get('Id') or made['Name']}")
        if status == 201 and path.startswith("/commit"):
            ask("DELETE", f"/images/{made['Id']}")


def test_parameters(ask, draws, victim):
    for _ in range(REQUESTS):
        method, path, names = draws.choice(QUERIES)
        given = {name: draws.choice(VALUES) for name in draws.sample(names, draws.randint(1, min(2, len(names))))}
        words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
        if "filters" in words:
            words["filters"] = json.dumps({draws.choice(FILTERS): draws.choice([*VALUES, {"x": True}, ["x"], ["1h"]])})
        if path.endswith("/logs"):
            words["stdout"] = "1"
        body = draws.choice([b"", b"garbage", b"\0" * 1024, draws.randbytes(700)]) if method in ("PUT", "POST") else None
        query = urllib.parse.urlencode(words, errors="surrogatepass")
        status, _ = ask(method, f"{path.replace('K', victim)}?{query}", body)
        if path.endswith("/rename") and status == 204:
            ask("POST", f"/containers/{words['name']}/rename?name={victim}")


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_bytes(engine, raw):
    with connected(engine) as client:
        try:
            client.sendall(raw)
        except BrokenPipeError:  # it was refused before all of it was sent
            return
        status, _, body = whole(client)
    assert status in (400, 404)
    assert ": " in json.loads(body)["message"]
    assert call(engine, "GET", "/_ping")[0] == 200


def test_random_bytes(engine, draws):
    for _ in range(50):
        with connected(engine) as client:
            client.sendall(draws.randbytes(300) + b"\r\n\r\n")
            assert client.recv(12)[9:12] in (b"400", b"404", b"505")
    assert call(engine, "GET", "/_ping")[0] == 200


def test_more_clients_than_descriptors(engine):
    """Who comes when there are no descriptors left is served when some are free again."""
    import resource

    before = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{engine.pid}/fd"))
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (held + 12, before[1]))
    clients = []
    try:
        for _ in range(40):
            clients.append(connected(engine))
            clients[-1].__enter__()
    finally:
        for client in clients:
            client.__exit__(None, None, None)
        assert call(engine, "GET", "/_ping")[0] == 200
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, before)
