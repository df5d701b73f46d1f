from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gasang.cli.checks import finding, machine, parts
from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.checks.table import CHECKS
from gasang.core.config import Config, Source
from gasang.core.units import GIB, MIB


class Usage(NamedTuple):
    """As shutil.disk_usage has it."""

    total: int
    used: int
    free: int


def host(root: Path = Path("/"), **environment: str) -> Host:
    return Host(environment, Config([]), root)


@pytest.mark.parametrize("name", set(CHECKS) - {"mirror"})
def test_every_check_finds_something_here(name: str) -> None:
    found = CHECKS[name](host(PATH="/usr/bin"))
    assert found.text
    assert bool(found.remedy) == (found.status in (Status.WARNING, Status.FAILED))


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:  2000000 kB\nMemAvailable:   500000 kB\n")
    assert machine.check_memory(host(tmp_path)) == Finding(
        Status.WARNING, "488.3 MiB available", "close other programs, or run machines with --memory 256M"
    )
    (tmp_path / "proc" / "meminfo").write_text("MemAvailable:   5000000 kB\nnonsense\n")
    assert machine.check_memory(host(tmp_path)).status is Status.OK
    assert machine.check_memory(host(tmp_path / "nowhere")).status is Status.NOTE


@pytest.mark.parametrize(("free", "status"), [(10 * MIB, Status.FAILED), (GIB, Status.WARNING), (50 * GIB, Status.OK)])
def test_disk_space(free: int, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(1, 1, free))
    assert machine.disk_finding(tmp_path / "not" / "yet").status is status


def test_a_program_is_found_on_the_path(tmp_path: Path) -> None:
    assert parts.check_gpgv(host(PATH=str(tmp_path))).status is Status.WARNING
    (tmp_path / "sqv").write_text("#!/bin/sh\n")
    (tmp_path / "sqv").chmod(0o755)
    assert parts.check_gpgv(host(PATH=str(tmp_path))) == Finding(Status.OK, str(tmp_path / "sqv"))


def test_the_keyring_is_looked_for(tmp_path: Path) -> None:
    assert parts.check_keyring(host(tmp_path)).status is Status.WARNING
    keys = tmp_path / "usr" / "share" / "keyrings"
    keys.mkdir(parents=True)
    (keys / "debian-archive-keyring.gpg").touch()
    assert parts.check_keyring(host(tmp_path)).status is Status.OK


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    assert parts.writable_finding(tmp_path / "new").status is Status.OK
    assert not (tmp_path / "new").exists()
    found = parts.writable_finding(Path("/proc/self/fd"))
    assert found.status is Status.WARNING
    assert "GASANG_NATIVE_CACHE" in found.remedy


class Answer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/debian/dists/stable/InRelease" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def mirror() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def at(mirror: str) -> Host:
    return Host({}, Config([Source("flag", {"mirror": mirror})]))


def test_a_mirror_that_answers(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert parts.check_mirror(at(f"{mirror}/debian")).status is Status.OK
    assert parts.check_mirror(at(f"{mirror}/ubuntu")).status is Status.WARNING


def test_a_mirror_that_does_not(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    found = parts.check_mirror(at("http://127.0.0.1:9/debian"))
    assert found.status is Status.WARNING
    assert "refused" in found.text


def test_a_program_is_looked_for_on_the_default_path_too() -> None:
    assert finding.Host({}, Config([])).program("sh").endswith("/sh")
