"""Appliances there and back, those of other makers, and those that want more than to be read."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError
from gasang.storage.appliance import ovf
from gasang.storage.appliance.ovf import Appliance, ApplianceDisk
from gasang.storage.appliance.package import open_package, write_archive
from gasang.storage.images.store import Volatile
from gasang.storage.images.table import create_image
from storage.images.judge import needs_qemu_img, qemu_img

SIZE = 3 << 20
MACHINE = Appliance(
    "web <&> 'server'", 3, 5 << 20, (ApplianceDisk("web-disk0.vmdk", SIZE), ApplianceDisk("web-disk1.vmdk", SIZE)), ("nat", "lan")
)

THEIRS = b"""<?xml version="1.0"?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:r="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
 <ovf:References><ovf:File ovf:id="f1" ovf:href="b.vmdk"/><ovf:File ovf:id="f2" ovf:href="a.vmdk"/></ovf:References>
 <ovf:DiskSection><ovf:Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="3" ovf:capacityAllocationUnits="byte * 2^20"/>
  <ovf:Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:capacity="3145728"/></ovf:DiskSection>
 <ovf:VirtualSystem ovf:id="theirs"><ovf:VirtualHardwareSection>
  <ovf:Item><r:ResourceType>3</r:ResourceType><r:VirtualQuantity>2</r:VirtualQuantity></ovf:Item>
  <ovf:Item><r:ResourceType>4</r:ResourceType><r:AllocationUnits>MegaBytes</r:AllocationUnits><r:VirtualQuantity>512</r:VirtualQuantity></ovf:Item>
  <ovf:Item><r:ResourceType>17</r:ResourceType><r:HostResource>/disk/d2</r:HostResource><r:Parent>3</r:Parent><r:AddressOnParent>1</r:AddressOnParent></ovf:Item>
  <ovf:Item><r:ResourceType>17</r:ResourceType><r:HostResource>ovf:/disk/d1</r:HostResource><r:Parent>3</r:Parent><r:AddressOnParent>0</r:AddressOnParent></ovf:Item>
  <ovf:Item><r:ResourceType>10</r:ResourceType><r:Connection>bridged</r:Connection></ovf:Item>
 </ovf:VirtualHardwareSection></ovf:VirtualSystem></ovf:Envelope>"""


def written(folder: Path) -> Path:
    images = []
    for number in range(2):
        image = create_image(folder / f"{number}.qcow2", "qcow2", SIZE)
        image.write(number << 20, random.Random(number).randbytes(300_000))
        images.append(image)
    write_archive(folder / "web.ova", MACHINE, images, lambda done: None)
    for image in images:
        image.close()
    return folder / "web.ova"


@needs_qemu_img
def test_there_and_back(tmp_path: Path) -> None:
    path = written(tmp_path)
    with closing(open_package(path)) as package:
        assert package.appliance == MACHINE
        for number, disk in enumerate(package.appliance.disks):
            with closing(package.disk(disk)) as image:
                assert image.size == SIZE
                assert image.read(number << 20, 300_000) == random.Random(number).randbytes(300_000)
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["web.ovf", "web-disk0.vmdk", "web-disk1.vmdk", "web.mf"]
        archive.extractall(tmp_path / "out", filter="data")
    qemu_img("compare", "-f", "vmdk", "-F", "qcow2", tmp_path / "out" / "web-disk1.vmdk", tmp_path / "1.qcow2")
    with closing(open_package(tmp_path / "out" / "web.ovf")) as package:
        assert package.appliance == MACHINE
        with closing(package.disk(package.appliance.disks[0])) as image:
            assert image.read(0, 300_000) == random.Random(0).randbytes(300_000)


def packed(folder: Path, files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda info: None) -> Path:
    path = folder / "their.ova"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            change(info)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def test_one_of_another_maker(tmp_path: Path) -> None:
    for name in "ab":
        with closing(create_image(tmp_path / f"{name}.vmdk", "vmdk", SIZE)) as image:
            image.write(0, name.encode() * 512)
    files = {"x.ovf": THEIRS, **{f"{name}.vmdk": (tmp_path / f"{name}.vmdk").read_bytes() for name in "ab"}}
    sums = "".join(f"SHA1({name})= {hashlib.sha1(data).hexdigest()}\n" for name, data in files.items())
    for more in ({}, {"x.mf": sums.encode()}):
        with closing(open_package(packed(tmp_path, {**files, **more}))) as package:
            machine = package.appliance
            assert (machine.name, machine.cpus, machine.memory, machine.cards) == ("theirs", 2, 512 << 20, ("bridged",))
            assert machine.disks == (ApplianceDisk("b.vmdk", SIZE), ApplianceDisk("a.vmdk", SIZE))
            with closing(package.disk(machine.disks[0])) as image:
                assert image.read(0, 512) == b"b" * 512
    for wrong, why in (
        (sums.replace("SHA1(a", "SHA1(c"), "missing"),
        (sums.replace("= ", "= 0"), "not what the manifest"),
        (sums[:60], "manifest"),
    ):
        with pytest.raises(GasangError, match=why):
            open_package(packed(tmp_path, {**files, "x.mf": wrong.encode()}))
    with pytest.raises(GasangError, match="does not name 'a"):
        open_package(packed(tmp_path, {**files, "x.mf": "".join(line for line in sums.splitlines(True) if "(a" not in line).encode()}))


def _link(info: tarfile.TarInfo) -> None:
    if info.name == "b.vmdk":
        info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/shadow", 0


@pytest.mark.parametrize(
    ("files", "change", "why"),
    [
        ({"x.ovf": THEIRS, "../b.vmdk": b"x"}, lambda info: None, "no OVA has"),
        ({"x.ovf": THEIRS, "/etc/passwd": b"x"}, lambda info: None, "no OVA has"),
        ({"x.ovf": THEIRS, "b.vmdk": b""}, _link, "links or folders"),
        ({"b.vmdk": b"x", "x.ovf": THEIRS}, lambda info: None, "does not begin with"),
        ({"x.ovf": THEIRS, "y.ovf": THEIRS}, lambda info: None, "does not begin with"),
        ({"x.ovf": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'}, lambda info: None, "descriptor is damaged"),
        ({"x.ovf": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'}, lambda info: None, "descriptor is damaged"),
        ({"x.ovf": b"<x>" * 100_000}, lambda info: None, "descriptor is damaged"),
        ({"x.ovf": b" " * (5 << 20)}, lambda info: None, "too large"),
        ({"x.ovf": THEIRS.replace(b">2<", b">99999999<")}, lambda info: None, "descriptor is damaged"),
        ({"x.ovf": THEIRS.replace(b"/disk/d2", b"/disk/d9")}, lambda info: None, "descriptor is damaged"),
    ],
)
def test_packages_that_are_refused(files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None], why: str, tmp_path: Path) -> None:
    with pytest.raises(GasangError, match=why):
        open_package(packed(tmp_path, files, change))


def test_a_descriptor_names_only_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "secret").write_bytes(bytes(SIZE))
    for href in ("../secret", str(tmp_path / "secret"), "..", "linked"):
        (tmp_path / "home" / "x.ovf").write_bytes(THEIRS.replace(b"b.vmdk", href.encode()))
        with suppress(FileExistsError):
            (tmp_path / "home" / "linked").symlink_to("../secret")
        with closing(open_package(tmp_path / "home" / "x.ovf")) as package, pytest.raises(GasangError):
            package.disk(package.appliance.disks[0])


@given(cut=st.integers(0, 20), noise=st.binary(max_size=8), at=st.integers(0, 4000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_may_stand_in_an_archive(tmp_path: Path, cut: int, noise: bytes, at: int) -> None:
    path = tmp_path / "odd.ova"
    if not (tmp_path / "their.ova").exists():
        packed(tmp_path, {"x.ovf": THEIRS, "b.vmdk": b"x" * 700, "a.vmdk": b"y" * 700})
    good = (tmp_path / "their.ova").read_bytes()
    path.write_bytes((good[:at] + noise + good[at + len(noise) :])[: len(good) - cut * 500])
    with suppress(GasangError), closing(open_package(path)) as package, closing(package.disk(package.appliance.disks[0])) as image:
        image.read(0, 512)


@given(st.text(max_size=40), st.integers(0, 64), st.integers(0, 1 << 40))
@settings(max_examples=30, deadline=None)
def test_names_come_back(name: str, cpus: int, memory: int) -> None:
    clean = "".join(sign for sign in name if sign.isprintable() and sign not in "\ufffe\uffff")
    machine = Appliance(clean, cpus, memory >> 20 << 20, (), (clean,))
    found = ovf.parse(ovf.make(machine), "it")
    assert (found.name, found.cpus, found.memory) == (clean, cpus, machine.memory)
    assert found.cards == (clean.strip(),)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    class Full:
        size, read_only = SIZE, True

        def data(self) -> object:
            return iter([(0, SIZE)])

        def read(self, offset: int, length: int) -> bytes:
            raise OSError(28, "no room")

    with pytest.raises(OSError, match="no room"):
        write_archive(tmp_path / "x.ova", Appliance("x", 1, 1, (ApplianceDisk("d", SIZE),)), [Full()], lambda done: None)  # type: ignore[list-item]
    assert not (tmp_path / "x.ova").exists()


def test_one_that_lies_in_another_store(tmp_path: Path) -> None:
    store = Volatile(written(tmp_path).read_bytes(), read_only=True)
    with closing(open_package(Path("http://server/web.ova"), store)) as package, closing(package.disk(MACHINE.disks[1])) as image:
        assert image.read(1 << 20, 300_000) == random.Random(1).randbytes(300_000)
