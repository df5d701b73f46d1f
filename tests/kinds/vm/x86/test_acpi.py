"""ACPI tables: Intel's own disassembler and compiler read them, and checksums are right."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.kinds.vm.x86 import acpi, aml, layout
from gasang.kinds.vm.x86.acpi import Described, Window, tables

WINDOWS = (Window(0xC000_0000, 0x1000, 5), Window(0xC000_1000, 0x1000, 6))
WHOLE = Described(3, WINDOWS, has_pci=True, generation_id=0x1_000E_8000, has_pvpanic=True)


def split(data: bytes, rsdp: int) -> dict[str, bytes]:
    """The tables that the root pointer leads to, by signature."""

    def at(address: int) -> bytes:
        offset = address - layout.ACPI_TABLES
        (length,) = struct.unpack_from("<I", data, offset + 4)
        return data[offset : offset + length]

    root = data[rsdp - layout.ACPI_TABLES :][:36]
    assert root.startswith(b"RSD PTR ")
    assert sum(root[:20]) % 256 == sum(root) % 256 == 0
    xsdt = at(struct.unpack_from("<Q", root, 24)[0])
    found = [xsdt, *(at(address) for (address,) in struct.iter_unpack("<Q", xsdt[36:]))]
    named = {table[:4].decode(): table for table in found}
    named["DSDT"] = at(struct.unpack_from("<Q", named["FACP"], 140)[0])
    return named


@pytest.mark.parametrize("described", [Described(1), WHOLE, Described(300, has_pci=True, has_cmos=False)])
def test_tables_are_found_and_whole(described: Described) -> None:
    data, rsdp = tables(described, layout.ACPI_TABLES)
    found = split(data, rsdp)
    assert set(found) == {"XSDT", "FACP", "APIC", "DSDT", *(["MCFG"] if described.has_pci else [])}
    assert all(sum(table) % 256 == 0 for table in found.values())
    assert rsdp % 16 == 0
    assert len(data) < layout.HIGH - layout.ACPI_TABLES


@pytest.mark.skipif(shutil.which("iasl") is None, reason="iasl (acpica-tools) reads the tables, and is not installed")
def test_intels_own_compiler_agrees(tmp_path: Path) -> None:
    found = split(*tables(WHOLE, layout.ACPI_TABLES))
    for name, table in found.items():
        (tmp_path / f"{name}.aml").write_bytes(table)
        done = subprocess.run(["iasl", "-d", f"{name}.aml"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "Disassembly completed" in done.stderr or "decoded" in done.stderr
        assert "rror" not in done.stderr.replace("0 Errors", "")
    text = (tmp_path / "DSDT.dsl").read_text()
    for said in (
        '"LNRO0005"', "Memory32Fixed", "0xC0001000", "Package (0x04)", "Name (ADDR, Package (0x02)", 'EisaId ("PNP0A08")', '"ACPI0013"',
        "Notify (\\_SB.VGEN, 0x80)", '"QEMU0001"',
    ):  # fmt: skip
        assert said in text
    done = subprocess.run(["iasl", "-tc", "DSDT.dsl"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "0 Errors, 0 Warnings" in done.stdout
    fixed = (tmp_path / "FACP.dsl").read_text()
    assert "Hardware Reduced (V5) : 1" in fixed
    assert "Reset Register Supported (V2) : 1" in fixed
    local = (tmp_path / "APIC.dsl").read_text()
    assert local.count("Processor Enabled : 1") == 3


@given(st.integers(0, (1 << 28) - 5))
def test_package_lengths(size: int) -> None:
    encoded = aml.package_length(size)
    lead = encoded[0]
    count = lead >> 6
    assert len(encoded) == count + 1
    value = lead & 0x3F if not count else lead & 0x0F | sum(byte << (4 + 8 * number) for number, byte in enumerate(encoded[1:]))
    assert value == size + len(encoded)


@pytest.mark.parametrize("value", [0, 1, 2, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFF_FFFF, 1 << 32, (1 << 64) - 1])
def test_integers(value: int) -> None:
    data = aml.integer(value)
    assert int.from_bytes(data[1:] if len(data) > 1 else data, "little") == value


@pytest.mark.parametrize(
    "wrong", [lambda: aml.name_string("toolong1"), lambda: aml.name_string("a"), lambda: aml.eisa_id("PNP5"), lambda: aml.integer(1 << 64),
              lambda: aml.integer(-1), lambda: aml.package_length(1 << 28)],
)  # fmt: skip
def test_what_has_no_bytes(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((ValueError, struct.error)):
        wrong()


def test_names() -> None:
    assert aml.name_string("\\_SB.PCI0") == b"\\\x2e_SB_PCI0"
    assert aml.name_string("A.B.C") == b"\x2f\x03A___B___C___"
    assert acpi.HW_REDUCED == 1 << 20
