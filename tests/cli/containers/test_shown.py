from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.containers.documents import flat, show
from gasang.cli.containers.figures import COLUMNS, row
from gasang.cli.containers.filters import query_of
from gasang.cli.containers.kinds import ARCH, CONTAINER, VM, is_container
from gasang.cli.containers.shown import ago, port_texts, short_id, shortened, stamp
from gasang.cli.options import Parsed
from gasang.cli.output import render
from gasang.core.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (5, "5 seconds ago"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (86_400 * 8, "1 week ago"),
        (86_400 * 800, "2 years ago"),
    ],
)
def test_how_long_ago(seconds: int, text: str) -> None:
    assert ago(stamp(1_700_000_000 - seconds), 1_700_000_000.3) == text


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "America/New_York"])
def test_the_zone_does_not_matter(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert ago(stamp(time.time() - 60 * 86_400)) == "1 month ago"
        assert ago(stamp(time.time() - 240 * 86_400)) == "7 months ago"
        assert ago(stamp(time.time() - 7300)) == "2 hours ago"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text())
def test_what_is_no_time_is_shown_as_it_is(text: str) -> None:
    assert ago(text) == text or text[:4].isdecimal()


def test_ids_and_cuts() -> None:
    assert short_id("sha256:0123456789abcdef") == "0123456789ab"
    assert shortened(5)("sleep") == "sleep"
    assert shortened(5)("sleeping") == "slee…"


def test_ports() -> None:
    published = {"IP": "::1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}
    assert port_texts([published, {**published, "IP": "127.0.0.1"}, {"PrivatePort": 53, "Type": "udp"}]) == [
        "[::1]:8080->80/tcp",
        "127.0.0.1:8080->80/tcp",
        "53/udp",
    ]


def test_filters() -> None:
    assert query_of([]) is None
    assert json.loads(query_of([("status", "exited"), ("status", "dead"), ("name", "x")]) or "") == {
        "status": ["exited", "dead"],
        "name": ["x"],
    }


def test_documents_by_field() -> None:
    documents: list[dict[str, Any]] = [{"Name": "/web", "State": {"Status": "running"}}, {"RepoTags": ["x:1"], "Id": "sha256:1"}]
    assert dict(flat(documents[0]))["State.Status"] == "running"
    assert json.loads(show(None, documents)) == documents
    assert show("jsonl", documents).count("\n") == 2
    assert show("name", documents) == "web\nx:1\n"
    assert show("{name}: {State.Status}", documents) == "web: running\nx:1: \n"
    with pytest.raises(UsageError, match="there is no field"):
        show("{Stat}", documents)


def test_figures_from_two_samples() -> None:
    def sample(used: int, passed: int) -> dict[str, Any]:
        return {
            "name": "/web",
            "id": "1",
            "cpu_stats": {"cpu_usage": {"total_usage": used}, "system_cpu_usage": passed, "online_cpus": 4},
            "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"total_inactive_file": 300}},
            "networks": {"eth0": {"rx_bytes": 5, "tx_bytes": 6}, "eth1": {"rx_bytes": 1, "tx_bytes": 1}},
            "blkio_stats": {
                "io_service_bytes_recursive": [{"op": "Read", "value": 7}, {"op": "Write", "value": 8}, {"op": "Total", "value": 15}]
            },
            "pids_stats": {"current": 3},
        }

    found = row(sample(100, 1000), sample(300, 2000))
    assert found == {
        "name": "web", "cpu": 80.0, "memory": 700, "memory_limit": 5000, "shared": None, "received": 6, "sent": 7, "read": 7, "written": 8,
        "pids": 3, "jit": None, "id": "1",
    }  # fmt: skip
    compiled = {"regions": 12, "coverage": 0.871}
    loaded = {**compiled, "loaded": 30}
    shown = render(None, COLUMNS, [found, {**found, "jit": compiled}, {**found, "jit": loaded}]).splitlines()
    assert [line.split("   ")[-1] for line in shown] == ["COMPILED", "–", "12 regions, 87%", "42 regions, 87%"]
    assert row({}, {"jit_stats": compiled})["jit"] == compiled
    assert row({}, {"name": "/gone", "id": "2"})["cpu"] == 0.0


@pytest.mark.parametrize(
    ("text", "container"),
    [
        ("debian:trixie", False),
        ("debian", True),
        ("debian:latest", True),
        ("busybox", True),
        ("docker.io/library/debian:trixie", True),
        ("localhost:5000/x", True),
        ("debian@sha256:" + "0" * 64, True),
        ("sha256:" + "0" * 64, True),
        ("0" * 64, True),
    ],
)
def test_which_kind_a_reference_means(text: str, container: bool) -> None:
    def means(vm: bool = False, container: bool = False, arch: str | None = None) -> bool:
        return is_container(text, Parsed("pull", {VM.name: vm, CONTAINER.name: container, ARCH.name: arch}, (), ()))

    assert means() is container
    assert means(vm=True) is False
    assert means(arch="amd64") is False
    assert means(container=True) is True
    with pytest.raises(UsageError, match="of one kind"):
        means(vm=True, container=True)
    with pytest.raises(UsageError, match="option --arch: it is for virtual machines"):
        means(container=True, arch="amd64")


def test_a_context_without_what_is_ignored(tmp_path: Path) -> None:
    import io
    import tarfile

    from gasang.cli.containers.context import OUTSIDE, BuildContext

    for name in ("Dockerfile", "keep", "skip", "folder/inner"):
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text(name)
    (tmp_path / "c" / ".dockerignore").write_text("skip\nDockerfile\n")
    (tmp_path / "other").write_text("FROM scratch")

    def names(context: BuildContext) -> list[str]:
        with tarfile.open(fileobj=io.BytesIO(b"".join(context.pieces()))) as archive:
            assert all(entry.uid == entry.gid == 0 for entry in archive)
            return archive.getnames()

    own = BuildContext(str(tmp_path / "c"), None)
    assert (own.name, names(own)) == ("Dockerfile", [".dockerignore", "Dockerfile", "folder", "keep", "folder/inner"])
    outside = BuildContext(str(tmp_path / "c"), str(tmp_path / "other"))
    assert outside.name == OUTSIDE
    assert names(outside)[-1] == OUTSIDE
