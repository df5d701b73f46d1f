"""The verbs about archives, logins and what an image is made of, against a daemon that says what the test told it to."""

from __future__ import annotations

import base64
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gasang.cli import main as command
from support.fake_daemon import FakeDaemon, Told

INFO: dict[str, Any] = {
    "ServerVersion": "1", "Containers": 3, "ContainersRunning": 1, "ContainersPaused": 0, "ContainersStopped": 2, "Images": 4,
    "DockerRootDir": "/state", "Driver": "overlay2", "LoggingDriver": "json-file", "CgroupVersion": "2", "Name": "host",
    "OperatingSystem": "Debian", "Architecture": "x86_64", "KernelVersion": "6", "NCPU": 2, "MemTotal": 1 << 30, "Warnings": ["no swap"],
}  # fmt: skip


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Docker's configuration file, which is not there yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def sent(header: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(header))


def test_export_and_import(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    daemon.tells("GET /containers/web/export", chunks=(b"tar", b"data"))
    daemon.tells("POST /images/create", chunks=(b'{"status":"sha256:1"}\n',))
    path = tmp_path / "web.tar"
    assert command.main(["export", "-o", str(path), "web"]) == 0
    assert path.read_bytes() == b"tardata"
    assert command.main(["import", "-c", 'CMD ["sh"]', "-m", "flat", str(path), "web:flat"]) == 0
    assert capsys.readouterr().out == "sha256:1\n"
    asked = daemon.asked[1]
    assert asked.body == b"tardata"
    assert asked.query == {"fromSrc": ["-"], "repo": ["web:flat"], "changes": ['CMD ["sh"]'], "message": ["flat"]}


def test_what_cannot_be_imported(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["import", "http://example.org/x.tar"]) == 2
    assert "addresses are not fetched; download it" in capsys.readouterr().err
    assert command.main(["import", str(tmp_path / "none.tar"), "a:1"]) == 3
    assert command.main(["import", "-", "No Name"]) == 2
    assert daemon.asked == []
    daemon.tells("POST /images/create", chunks=(b'{"errorDetail":{"message":"archive: it is damaged; mend it"},"error":"e"}\n',))
    (tmp_path / "x.tar").write_bytes(b"x")
    assert command.main(["import", str(tmp_path / "x.tar")]) == 1
    assert "gasang: archive: it is damaged; mend it" in capsys.readouterr().err


def test_history(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    long = "RUN " + "x" * 100
    steps = [
        {"Id": "sha256:" + "ab" * 32, "Created": 0, "CreatedBy": long, "Size": 2048, "Comment": ""},
        {"Id": "<missing>", "Created": 0, "CreatedBy": "ADD x", "Size": 0, "Comment": "base"},
    ]
    daemon.tells("GET /images/reg/web:1/history", steps)
    assert command.main(["history", "reg/web:1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith("abababababab   ")
    assert long not in shown[1]
    assert "2 KiB" in shown[1]
    assert command.main(["history", "--no-trunc", "reg/web:1"]) == 0
    assert long in capsys.readouterr().out
    assert command.main(["history", "--format", "{id}|{size}|{comment}", "reg/web:1"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "|0|base"


def test_update(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/web/update", {"Warnings": []})
    words = ["--memory", "64M", "--cpus", "1.5", "--pids-limit", "-1", "--restart", "always"]
    assert command.main(["update", *words, "web", "gone"]) == 3
    assert capsys.readouterr().out == "web\n"
    assert daemon.asked[0].document == {
        "Memory": 64 << 20, "NanoCpus": 1_500_000_000, "PidsLimit": -1, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
    }  # fmt: skip
    assert command.main(["update", "web"]) == 2
    assert "there is nothing to change; name a limit" in capsys.readouterr().err


def test_info_and_version(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /info", INFO)
    daemon.tells(
        "GET /version",
        {"Version": "1", "MinAPIVersion": "1.24", "ApiVersion": "1.50", "Os": "linux", "Arch": "amd64", "KernelVersion": "6"},
    )
    assert command.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "containers       3 (1 running, 0 paused, 2 ended)\n" in shown
    assert "memory           1 GiB\n" in shown
    assert "warning          no swap\n" in shown
    assert command.main(["info", "--format", "{NCPU}"]) == 0
    assert capsys.readouterr().out == "2\n"
    assert command.main(["version", "--format", "{part}: {about}"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "daemon: Docker Engine API 1.24 to 1.50, linux/amd64, kernel 6"


def test_search(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /images/search", [{"name": "debian", "description": "D", "star_count": 7, "is_official": True}, {"name": "x/debian"}])
    assert command.main(["search", "--limit", "2", "--filter", "stars=1", "debian"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [["debian", "D", "7", "yes"], ["x/debian", "0"]]
    assert daemon.asked[0].query == {"term": ["debian"], "limit": ["2"], "filters": ['{"stars": ["1"]}']}
    daemon.answers["GET /images/search"] = Told({"message": "search: registries have none; look at its pages"}, 501)
    assert command.main(["search", "debian"]) == 6


# logins


def test_a_login_is_remembered_and_sent_along(
    daemon: FakeDaemon, logins: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    daemon.tells("POST /auth", {"Status": "Login Succeeded"})
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    assert command.main(["login", "-u", "me", "--password-stdin", "localhost:5000"]) == 0
    assert daemon.asked[0].document == {"username": "me", "password": "secret", "serveraddress": "localhost:5000"}
    said = capsys.readouterr()
    assert said.out == ""
    assert f"kept in {logins}, which is not encrypted" in said.err
    assert json.loads(logins.read_text()) == {"auths": {"localhost:5000": {"auth": base64.b64encode(b"me:secret").decode()}}}
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600
    assert [path.name for path in logins.parent.iterdir()] == ["config.json"]

    daemon.tells("POST /images/create", chunks=(b"{}\n",))
    daemon.tells("POST /images/localhost:5000/x/push", chunks=(b"{}\n",))
    daemon.tells("POST /build", chunks=(b'{"aux":{"ID":"sha256:1"}}\n',))
    (tmp_path / "Dockerfile").write_text("FROM localhost:5000/x")
    assert command.main(["pull", "-q", "localhost:5000/x"]) == 0
    assert command.main(["push", "-q", "localhost:5000/x"]) == 0
    assert command.main(["pull", "-q", "localhost:5001/x"]) == 0
    assert command.main(["build", "--iidfile", str(tmp_path / "id"), str(tmp_path)]) == 0
    assert (tmp_path / "id").read_text() == "sha256:1"
    pulled, pushed, other, built = daemon.asked[1:]
    assert sent(pulled.headers["x-registry-auth"])["password"] == "secret"
    assert sent(pushed.headers["x-registry-auth"])["username"] == "me"
    assert "x-registry-auth" not in other.headers
    assert sent(built.headers["x-registry-config"])["localhost:5000"]["password"] == "secret"


def test_a_login_that_is_refused_is_not_remembered(daemon: FakeDaemon, logins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /auth", {"message": "registry r: it does not know you; log in"}, status=401)
    assert command.main(["login", "-u", "me", "-p", "wrong", "localhost:5000"]) == 5
    assert not logins.exists()


def test_logout_leaves_the_rest_of_the_file(daemon: FakeDaemon, logins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logins.parent.mkdir()
    logins.write_text(json.dumps({"auths": {"r:1": {"auth": ""}, "https://index.docker.io/v1/": {}}, "HttpHeaders": {"a": "b"}}))
    assert command.main(["logout"]) == 0
    assert json.loads(logins.read_text()) == {"auths": {"r:1": {"auth": ""}}, "HttpHeaders": {"a": "b"}}
    assert command.main(["logout"]) == 0
    assert capsys.readouterr().err.splitlines() == ["gasang: logged out of docker.io", "gasang: nobody was logged in to docker.io"]
    assert daemon.asked == []
    logins.write_text("{")
    assert command.main(["logout"]) == 1
    assert "it is no JSON; mend it or remove it" in capsys.readouterr().err


def test_a_helper_keeps_the_password(daemon: FakeDaemon, logins: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-test"
    program.write_text(f"#!/bin/sh\nprintf '%s ' \"$1\" >> {tmp_path}/told\ncat >> {tmp_path}/told\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    logins.parent.mkdir()
    logins.write_text('{"credsStore": "test"}')
    daemon.tells("POST /auth", {})
    assert command.main(["login", "-u", "me", "-p", "secret", "r:1"]) == 0
    assert "secret" not in logins.read_text()
    assert command.main(["logout", "r:1"]) == 0
    assert (tmp_path / "told").read_text() == 'store {"ServerURL": "r:1", "Username": "me", "Secret": "secret"}erase r:1'
    program.write_text("#!/bin/sh\necho no keyring; exit 1\n")
    assert command.main(["logout", "r:1"]) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "add --username"),
        (["-u", "me"], "add --password-stdin"),
        (["-u", "me", "-p", "a", "--password-stdin"], "one password is enough"),
        (["-u", "me", "-p", ""], "its value is empty"),
    ],
)
def test_nobody_can_be_asked(daemon: FakeDaemon, logins: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert command.main(["login", *words]) == 2
    assert says in capsys.readouterr().err
