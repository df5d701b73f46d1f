"""What doctor says of large pages, network devices and the disk's speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.cli.checks import devices
from gasang.cli.checks.finding import Host, Status
from gasang.core.config import Config
from gasang.core.units import MIB
from support.privileges import needs_root


def host(root: Path = Path("/"), **environment: str) -> Host:
    return Host(environment, Config([]), root)


@pytest.mark.parametrize(
    ("text", "status"), [("always [madvise] never", Status.OK), ("always madvise [never]", Status.NOTE), ("", Status.NOTE)]
)
def test_large_pages(text: str, status: Status, tmp_path: Path) -> None:
    folder = tmp_path / "sys/kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    (folder / "enabled").write_text(text)
    assert devices.check_huge_pages(host(tmp_path)).status is status


@needs_root
def test_a_network_device_is_made_and_gone() -> None:
    before = sorted(path.name for path in Path("/sys/class/net").iterdir())
    assert devices.check_tap(host()).status is Status.OK
    assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == before


def test_where_no_network_device_can_be_made(tmp_path: Path) -> None:
    assert "No such file or directory" in devices.check_tap(host(tmp_path)).text
    (tmp_path / "dev/net").mkdir(parents=True)
    (tmp_path / "dev/net/tun").write_bytes(b"")
    found = devices.check_tap(host(tmp_path))
    assert (found.status, "Inappropriate ioctl" in found.text) == (Status.WARNING, True)


def test_the_disks_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, settling = devices.measured(tmp_path)
    assert rate > MIB
    assert settling > 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(devices, "measured", lambda place: (MIB, 0.25))
    found = devices.check_speed(host(XDG_CACHE_HOME=str(tmp_path)))
    assert (found.status, found.text) == (Status.WARNING, f"1 MiB/s written at {tmp_path}, 250.0 ms to settle a block")

    def full(place: Path) -> tuple[float, float]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(devices, "measured", full)
    assert "cannot be written (No space left on device)" in devices.check_speed(host(XDG_CACHE_HOME=str(tmp_path))).text
