"""Structures, ioctls and capabilities against the kernel's own headers, as a C compiler reads them."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from gasang.host.kvm import ioctls, structures
from gasang.host.kvm.capabilities import CAPABILITIES

if platform.machine() != "x86_64" or shutil.which("gcc") is None or not Path("/usr/include/linux/kvm.h").exists():
    pytest.skip("gcc and the headers of an x86-64 kernel (linux-libc-dev) say what is right, and are not here", allow_module_level=True)

RECORDS = [
    kind for kind in vars(structures).values() if isinstance(kind, type) and issubclass(kind, structures.Record) and kind.c_name
]
IOCTLS = [value for value in vars(ioctls).values() if isinstance(value, ioctls.Ioctl)]
FLATTENED = ("exception", "interrupt", "nmi", "smi", "triple_fault")
NAMES = {
    "struct kvm_vcpu_events": {
        name: f"{part}.{name.removeprefix(part)[1:]}"
        for name, *_ in structures.VcpuEvents._fields_
        for part in FLATTENED
        if name.startswith(f"{part}_") and name not in ("exception_has_payload", "exception_payload")
    },
    "struct kvm_irqchip": {"chip": "chip.dummy"},
    "struct kvm_irq_routing_entry": {"words": "u"},
    "struct kvm_run": {"why": "padding"},
}
"""Fields of ours that are named otherwise there."""


def ask(tmp_path: Path, expressions: list[str]) -> list[int]:
    """The values a C compiler gives them."""
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({text}));\n' for text in expressions)
    source = tmp_path / "ask.c"
    source.write_text(f"#include <linux/kvm.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n{lines}return 0; }}\n")
    subprocess.run(["gcc", "-o", tmp_path / "ask", source], check=True)
    done = subprocess.run([tmp_path / "ask"], check=True, capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_sizes_and_offsets(tmp_path: Path) -> None:
    wanted: dict[str, int] = {}
    for kind in RECORDS:
        wanted[f"sizeof({kind.c_name})"] = ctypes.sizeof(kind)
        for name, *_ in kind._fields_:
            theirs = NAMES.get(kind.c_name, {}).get(name, name)
            wanted[f"offsetof({kind.c_name}, {theirs})"] = getattr(kind, name).offset
    assert dict(zip(wanted, ask(tmp_path, list(wanted)), strict=True)) == wanted
    assert len(RECORDS) > 30


def test_the_parts_of_an_exit(tmp_path: Path) -> None:
    parts = {
        "io": structures.IoExit, "mmio": structures.MmioExit, "hypercall": structures.HypercallExit, "fail_entry": structures.FailEntryExit,
        "internal": structures.InternalExit, "system_event": structures.SystemEventExit, "msr": structures.MsrExit,
    }  # fmt: skip
    base = structures.Run.why.offset  # type: ignore[attr-defined]
    wanted = {
        f"offsetof(struct kvm_run, {part}.{name})": base + getattr(kind, name).offset
        for part, kind in parts.items()
        for name, *_ in kind._fields_
        if (part, name) != ("hypercall", "flags")
    }
    assert dict(zip(wanted, ask(tmp_path, list(wanted)), strict=True)) == wanted


def test_numbers(tmp_path: Path) -> None:
    wanted = {ioctl.name: ioctl.number for ioctl in IOCTLS} | {f"KVM_CAP_{name}": number for name, number in CAPABILITIES.items()}
    assert dict(zip(wanted, ask(tmp_path, list(wanted)), strict=True)) == wanted
    assert len(IOCTLS) > 50
