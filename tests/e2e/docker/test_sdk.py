"""The Python SDK (the package docker): what CI tools written with it use."""

from __future__ import annotations

import gc
import io
import tarfile

import pytest

from support.engines.rootfs import layer

sdk = pytest.importorskip("docker", reason="not installed: docker (PyPI)")


# The SDK leaves sockets to the garbage collector: that happens at the end of the test that made them, and is no fault here.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def client(engine):
    """The SDK's client."""
    with_base = sdk.DockerClient(base_url=engine.host, timeout=60)
    yield with_base
    with_base.close()


@pytest.fixture
def box(client, image):
    """A container that only waits."""
    made = client.containers.run(image, "sleep 300", detach=True, environment={"GIVEN": "1"}, labels={"sdk": "yes"})
    yield made
    made.remove(force=True)


def test_ping_version_info(client):
    assert client.ping()
    assert client.version()["Os"] == "linux"
    assert client.info()["OSType"] == "linux"


def test_run(client, image):
    assert client.containers.run(image, ["echo", "hello"], remove=True) == b"hello\n"
    assert client.containers.run(image, "sh -c 'echo both >&2'", remove=True, stderr=True) == b"both\n"


def test_a_failure_is_an_exception(client, image):
    with pytest.raises(sdk.errors.ContainerError) as caught:
        client.containers.run(image, "sh -c 'echo why >&2; exit 3'", remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"why\n")
    with pytest.raises(sdk.errors.ImageNotFound):
        client.images.get("nothing:here")
    with pytest.raises(sdk.errors.NotFound):
        client.containers.get("nobody")
    with pytest.raises(sdk.errors.APIError) as refused:
        client.containers.create(image, name="bad/name")
    assert refused.value.response.status_code == 400


def test_lifecycle(client, box):
    assert box.status in ("created", "running")
    box.reload()
    assert (box.status, box.labels["sdk"]) == ("running", "yes")
    assert [found.id for found in client.containers.list(filters={"label": "sdk=yes"})] == [box.id]
    box.pause()
    box.unpause()
    box.rename("sdk-box")
    box.restart(timeout=0)
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    box.start()
    box.kill(signal="KILL")
    assert box.wait()["StatusCode"] == 137


def test_logs(client, image):
    box = client.containers.run(image, "sh -c 'seq 3; sleep 0.3; echo 4'", detach=True)
    try:
        assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n4\n"
        assert box.logs(tail=2) == b"3\n4\n"
        assert box.logs(timestamps=True).count(b"Z ") == 4
    finally:
        box.remove(force=True)


def test_exec(box):
    done = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (done.exit_code, done.output) == (4, (b"out\n", b"err\n"))
    assert box.exec_run("sh -c 'echo $GIVEN $MORE'", environment={"MORE": "2"}).output == b"1 2\n"
    assert b"".join(box.exec_run("seq 100", stream=True).output).split()[-1] == b"100"


def test_exec_with_a_socket(client, box):
    key = client.api.exec_create(box.id, "cat", stdin=True)["Id"]
    stream = client.api.exec_start(key, socket=True)
    raw = stream._sock
    raw.sendall(b"typed\n")
    raw.shutdown(1)
    data = b""
    while chunk := raw.recv(4096):
        data += chunk
    raw.close()
    stream.close()
    assert data == b"\x01\0\0\0\0\0\0\x06typed\n"
    assert client.api.exec_inspect(key)["ExitCode"] == 0


def test_archives(box):
    box.put_archive("/tmp", layer({"file": b"content"}))
    chunks, stat = box.get_archive("/tmp/file")
    assert (stat["name"], stat["size"]) == ("file", 7)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert archive.extractfile("file").read() == b"content"


def test_statistics_and_top(box):
    shown = box.stats(stream=False)
    assert shown["memory_stats"]["usage"] > 0
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert shown["pids_stats"]["current"] == 1
    assert "eth0" in shown["networks"]
    assert shown["name"] == f"/{box.name}"
    assert box.top()["Processes"][0][-1] == "sleep 300"


def test_build(client, image):
    text = f"FROM {image}\nLABEL made=here\nCMD echo built\n".encode()
    made, said = client.images.build(fileobj=io.BytesIO(text), tag="sdk:built", rm=True)
    try:
        assert any("Successfully built" in entry.get("stream", "") for entry in said)
        assert made.labels == {"made": "here"}
        assert client.containers.run("sdk:built", remove=True) == b"built\n"
    finally:
        client.images.remove("sdk:built", force=True)
    with pytest.raises(sdk.errors.BuildError):
        client.images.build(fileobj=io.BytesIO(f"FROM {image}\nRUN false\n".encode()), rm=True)


def test_images(client, image, registry):
    found = client.images.get(image)
    assert image in found.tags
    assert found.tag(f"{registry.host}/sdk", "1")
    said = list(client.images.push(f"{registry.host}/sdk", tag="1", stream=True, decode=True))
    assert any("aux" in entry for entry in said), said
    client.images.remove(f"{registry.host}/sdk:1")
    assert client.images.pull(f"{registry.host}/sdk", tag="1").id == found.id
    data = b"".join(found.save(named=True))
    assert client.images.load(data)[0].id == found.id
    client.images.remove(f"{registry.host}/sdk:1")
    assert found.history()


def test_networks_and_volumes(client, image):
    network = client.networks.create("sdk-network", driver="bridge")
    volume = client.volumes.create("sdk-volume")
    try:
        mounts = {"sdk-volume": {"bind": "/data", "mode": "rw"}}
        client.containers.run(image, "touch /data/x", remove=True, volumes=mounts, network="sdk-network")
        assert client.containers.run(image, "ls /data", remove=True, volumes=mounts) == b"x\n"
        box = client.containers.run(image, "sleep 60", detach=True)
        network.connect(box, aliases=["named"])
        assert client.containers.run(image, "ping -c1 -W2 named", remove=True, network="sdk-network")
        network.reload()
        assert [found.id for found in network.containers] == [box.id]
        network.disconnect(box)
        box.remove(force=True)
    finally:
        volume.remove(force=True)
        network.remove()


def test_events(client, image):
    events = client.events(decode=True, filters={"type": "container"})
    client.containers.run(image, "true", remove=True)
    seen = []
    for event in events:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    events.close()
    assert [action for action in seen if action != "attach"] == ["create", "start", "die", "destroy"]


def test_low_level_wait_for_the_next_end(client, image):
    key = client.api.create_container(image, "true")["Id"]
    client.api.start(key)
    assert client.api.wait(key, condition="not-running")["StatusCode"] == 0
    client.api.remove_container(key)
