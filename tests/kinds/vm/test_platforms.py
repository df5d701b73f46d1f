"""Which machine is chosen, and the sentences where none can be."""

from __future__ import annotations

import pytest

from gasang.accel.kvm import reality
from gasang.accel.kvm.reality import Kind, Reality
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError
from gasang.kinds.vm.parts import Parts
from gasang.kinds.vm.platforms import ACCELERATORS, ARCHITECTURES, PLATFORMS, choose, default_architecture, platform_of
from gasang.kinds.vm.x86.kernel import PcKernel

REAL, SLOW = Reality(Kind.REAL, 2e9), Reality(Kind.EMULATED, 2e6, "kvm_pvm")
NONE, FORBIDDEN = Reality(Kind.ABSENT), Reality(Kind.FORBIDDEN)


def on(monkeypatch: pytest.MonkeyPatch, found: Reality) -> None:
    """A host whose /dev/kvm is like that."""
    monkeypatch.setattr(reality, "reality", lambda: found)


@pytest.mark.parametrize(
    ("found", "asked", "chosen"),
    [
        (REAL, (None, None), ("amd64", "kvm")),
        (REAL, ("riscv64", None), ("riscv64", "soft")),
        (REAL, (None, "soft"), ("riscv64", "soft")),
        (SLOW, (None, None), ("riscv64", "soft")),
        (NONE, (None, None), ("riscv64", "soft")),
        (FORBIDDEN, (None, None), ("riscv64", "soft")),
        (REAL, (None, "kvm"), ("amd64", "kvm")),
        (REAL, ("amd64", None), ("amd64", "kvm")),
        (SLOW, ("amd64", "kvm"), ("amd64", "kvm")),
    ],
)
def test_choices(found: Reality, asked: tuple[str | None, str | None], chosen: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, found)
    platform = choose(*asked)
    assert (platform.architecture, platform.accelerator) == chosen


@pytest.mark.parametrize(
    ("found", "asked", "kind", "says"),
    [
        (SLOW, ("amd64", None), UnsupportedError, r"this host cannot run it \(/dev/kvm .* only emulates \(kvm_pvm\): 2\.0 million"),
        (SLOW, ("amd64", None), UnsupportedError, "use --arch riscv64, or --accel kvm to have it all the same"),
        (NONE, ("amd64", "kvm"), UnsupportedError, r"this host cannot run it \(no /dev/kvm\); use --arch riscv64; see gasang doctor"),
        (FORBIDDEN, ("amd64", None), PermissionDeniedError, "not for this user; join the group"),
        (REAL, ("riscv64", "kvm"), UnsupportedError, "architecture riscv64: --accel kvm runs no machine of it; use --arch amd64"),
        (REAL, ("amd64", "soft"), UnsupportedError, "architecture amd64: --accel soft runs no machine of it; use --arch riscv64"),
        (REAL, ("mips", None), UnsupportedError, "architecture mips: there is no machine of it; choose riscv64 or amd64"),
    ],
)
def test_refusals(
    found: Reality, asked: tuple[str | None, str | None], kind: type[GasangError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, found)
    with pytest.raises(kind, match=says):
        choose(*asked)


def test_a_slow_one_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, SLOW)
    told: list[str] = []
    choose("amd64", "kvm", told.append)
    (sentence,) = told
    assert "only emulates" in sentence


def test_the_table_is_of_what_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(PLATFORMS) <= {(name, how) for name in ARCHITECTURES for how in ACCELERATORS}
    for (name, how), make in PLATFORMS.items():
        assert (make().architecture, make().accelerator) == (name, how)
        assert platform_of(name).architecture == name
    for found, architecture in ((REAL, "amd64"), (SLOW, "riscv64")):
        on(monkeypatch, found)
        assert default_architecture() == architecture


def test_a_kvm_without_a_capability_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kvm, "__init__", lambda self: None)
    monkeypatch.setattr(Kvm, "close", lambda self: None)
    monkeypatch.setattr(Kvm, "capability", lambda self, name: int(name not in ("PIT2", "SIGNAL_MSI")))
    monkeypatch.setattr(Kvm, "device", "/dev/kvm", raising=False)
    parts: Parts[PcKernel] = Parts(1, 64 << 20, None, b"", "", lambda data: None)
    with pytest.raises(UnsupportedError, match=r"/dev/kvm: the host's KVM lacks KVM_CAP_PIT2, KVM_CAP_SIGNAL_MSI; use --accel soft"):
        platform_of("amd64").make(parts)
