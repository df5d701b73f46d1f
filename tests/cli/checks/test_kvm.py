from __future__ import annotations

from pathlib import Path

import pytest

from gasang.accel.kvm import reality
from gasang.accel.kvm import speed as kvm_speed
from gasang.cli.checks import kvm
from gasang.cli.checks.finding import Finding, Host, Status
from gasang.core.config import Config
from gasang.core.errors import UnsupportedError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """An x86-64 host with a /dev/kvm that is a plain file."""
    monkeypatch.setattr(reality, "host_machine", lambda: "x86_64")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kvm").touch()
    return Host({}, Config([]), tmp_path)


def found_with(host: Host, monkeypatch: pytest.MonkeyPatch, result: float | Exception) -> Finding:
    def measure(device: Path) -> float:
        assert device == host.path("/dev/kvm")
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(kvm_speed, "kernel_mode_speed", measure)
    return kvm.check_kvm(host)


def test_without_the_device(tmp_path: Path) -> None:
    assert kvm.check_kvm(Host({}, Config([]), tmp_path)) == Finding(Status.NOTE, "no /dev/kvm; machines run on the software processor")


def test_a_device_of_others(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reality.os, "access", lambda path, mode: False)
    assert "not for this user" in kvm.check_kvm(host).text


def test_another_architecture_is_not_measured(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reality, "host_machine", lambda: "aarch64")
    assert "on x86-64 hosts only" in kvm.check_kvm(host).text


def test_a_processor_that_virtualizes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(host, monkeypatch, 5.2e9)
    assert found.status is Status.OK
    assert "on the processor itself, 5,200 million instructions" in found.text


def test_an_emulation_is_told_with_its_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(host, monkeypatch, 1.8e6)
    assert found.status is Status.WARNING
    assert "only emulates: 1.8 million" in found.text
    assert "VT-x or AMD-V" in found.remedy
    (host.root / "sys" / "module" / "kvm_pvm").mkdir(parents=True)
    assert "only emulates (kvm_pvm): 1.8 million" in found_with(host, monkeypatch, 1.8e6).text


def test_a_device_that_does_not_work(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_with(host, monkeypatch, UnsupportedError("/dev/kvm", "it ended", "wait"))
    assert found.status is Status.WARNING
    assert "runs no guest: it ended" in found.text
    assert "dmesg" in found.remedy


def test_a_file_that_is_no_kvm(host: Host) -> None:
    """The host's own answer to the first ioctl."""
    assert "the host refuses KVM_GET_API_VERSION" in kvm.check_kvm(host).text
