"""Files of guests: facts, archives, and what a guest makes up. The agent is one of this host."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.vms.files import GuestFiles
from gasang.kinds.vm.agent.client import Completed
from gasang.kinds.vm.agent.running import Outcome
from support.agents import HostAgent, host_agent

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
GUEST = Container("a" * 64, "web", "", "debian:trixie", "", {}, {}, kind=VM, machine={"image": "debian:trixie"})


class Ways:
    """Those that the files ask: where the agent is."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def agent(self, container: Container) -> Any:
        return self._agent


@pytest.fixture(scope="module")
def agent() -> Iterator[HostAgent]:
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, host_agent(Path(folder), tool=BUSYBOX) as made:
        yield made


@pytest.fixture
def files(agent: HostAgent) -> GuestFiles:
    return GuestFiles(Ways(agent.client()))  # type: ignore[arg-type]


def facts(files: GuestFiles, path: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(files.facts(GUEST, str(path))))
    return found


def test_facts(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("12345")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    found = facts(files, tmp_path / "file")
    assert (found["name"], found["size"], found["mode"], found["linkTarget"]) == ("file", 5, 0o640, "")
    assert found["mtime"].startswith("20")
    assert facts(files, tmp_path)["mode"] & 1 << 31
    link = facts(files, tmp_path / "link")
    assert (link["mode"] & 1 << 27 != 0, link["linkTarget"]) == (True, str(tmp_path / "file"))
    assert facts(files, "/")["name"] == "/"


def test_what_is_not_there_or_no_folder(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match=r"Could not find the file .* in machine web"):
        files.facts(GUEST, f"{tmp_path}/none")
    with pytest.raises(UsageError, match="not a directory"):
        files.facts(GUEST, f"{tmp_path}/file/")


def test_archives_go_out_and_in(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a b").write_text("content")
    (tmp_path / "to").mkdir()
    with tempfile.TemporaryFile() as archive:
        files.read(GUEST, f"{tmp_path}/from", archive)
        archive.seek(0)
        files.write(GUEST, f"{tmp_path}/to", archive)
    assert (tmp_path / "to" / "from" / "a b").read_text() == "content"


def test_what_is_in_a_folder_goes_out_without_its_name(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").write_text("content")
    (tmp_path / "link").symlink_to("from")
    for name in ("from", "link"):
        archive = io.BytesIO()
        files.read(GUEST, f"{tmp_path}/{name}/.", archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as opened:
            assert sorted(opened.getnames()) == [".", "./file"]
        assert facts(files, f"{tmp_path}/{name}/.")["mode"] & 1 << 31
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError):
        files.facts(GUEST, f"{tmp_path}/file/.")


def test_its_processes(files: GuestFiles, agent: HostAgent) -> None:
    titles, rows = files.processes(GUEST, "-ef")
    assert titles == ["UID", "PID", "PPID", "TTY", "STAT", "CMD"]
    [own] = [row for row in rows if row[1] == str(agent.pid)]
    assert "inherited" in own[-1]
    titles, rows = files.processes(GUEST, f"-o pid,comm -p {agent.pid}")
    assert (titles, rows) == (["PID", "COMMAND"], [[str(agent.pid), "agent"]])
    with pytest.raises(UsageError, match="ps --no-such"):
        files.processes(GUEST, "--no-such")


def test_what_cannot_be_unpacked(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with tempfile.TemporaryFile() as archive:
        for place in (tmp_path / "none", tmp_path / "file"):
            with pytest.raises(NotFoundError):
                files.write(GUEST, str(place), archive)
        archive.write(b"no archive" * 100)
        archive.seek(0)
        with pytest.raises(BadInputError, match="directory"):
            files.write(GUEST, str(tmp_path), archive)


class Liar(NamedTuple):
    """A guest whose `stat` says something."""

    said: bytes

    def run(self, words: list[str], *, tool: bool) -> Completed:
        return Completed(Outcome(0, 0), self.said, b"")


@pytest.mark.parametrize(
    "said", [b"", b"81a4 5", b"x 5 5", b"-1 5 5", b"fffff 5 5", b"81a4 -5 5", b"81a4 5 999999999999999", b"81a4 5 -1", "81a4 ５ 5".encode()]
)
def test_a_guest_that_makes_things_up(said: bytes) -> None:
    with pytest.raises(BadInputError, match="tells of no file"):
        GuestFiles(Ways(Liar(said))).facts(GUEST, "/etc/passwd")  # type: ignore[arg-type]


def test_an_archive_is_a_tar(files: GuestFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    archive = io.BytesIO()
    files.read(GUEST, f"{tmp_path}/file", archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as opened:
        assert opened.getnames() == ["file"]
