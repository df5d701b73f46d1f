"""OVF descriptors: what machine an appliance is (DSP0243, versions 1 and 2). Pure: bytes to an Appliance and back.

Names of elements count without their namespaces, which makers disagree about. A document type, and with it every entity, is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from gasang.core.errors import BadInputError, UnsupportedError

LENGTH_MAX: Final = 4 << 20
_DEPTH_MAX: Final = 32
_ELEMENTS_MAX: Final = 100_000
CPU, MEMORY, NETWORK, DISK = 3, 4, 10, 17
"""CIM resource types (DSP1041)."""
_UNITS: Final = re.compile(r"byte\s*\*\s*2\s*\^\s*(\d\d?)")
_WORDS: Final = {"byte": 0, "bytes": 0, "kilobytes": 10, "kilobyte": 10, "megabytes": 20, "megabyte": 20, "gigabytes": 30, "gigabyte": 30}
_MOST: Final = 1 << 60
STREAM: Final = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


@dataclass(frozen=True, slots=True)
class ApplianceDisk:
    """A disk: its file in the package ("" for an empty one) and its bytes."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Appliance:
    """A machine: its name, processors, bytes of memory, disks in their order, and the networks of its cards."""

    name: str
    cpus: int
    memory: int
    disks: tuple[ApplianceDisk, ...]
    cards: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reader:
    """Gathers what matters while a document goes by."""

    damaged: BadInputError
    path: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    elements: int = 0
    systems: int = 0
    name: str = ""
    files: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    disks: dict[str, dict[str, str]] = field(default_factory=dict)
    items: list[dict[str, str]] = field(default_factory=list)

    def start(self, tag: str, given: dict[str, str]) -> None:
        """An element begins."""
        tag = tag.rpartition(" ")[2]
        told = {name.rpartition(" ")[2]: value for name, value in given.items()}
        self.path.append(tag)
        self.text.clear()
        self.elements += 1
        if len(self.path) > _DEPTH_MAX or self.elements > _ELEMENTS_MAX:
            raise self.damaged
        if tag == "File":
            self.files[told.get("id", "")] = told.get("href", "")
            self.chunked = self.chunked or "chunkSize" in told or told.get("compression", "identity") not in ("", "identity")
        elif tag == "Disk":
            self.disks[told.get("diskId", "")] = told
        elif tag == "VirtualSystem":
            self.systems += 1
            self.name = told.get("id", "")
        elif tag in ("Item", "StorageItem", "EthernetPortItem"):
            self.items.append({})

    def data(self, text: str) -> None:
        """Some of an element's text."""
        self.text.append(text)

    def end(self, _: str) -> None:
        """An element ends."""
        tag = self.path.pop()
        if self.items and self.path and self.path[-1] in ("Item", "StorageItem", "EthernetPortItem"):
            self.items[-1].setdefault(tag, "".join(self.text).strip())
        self.text.clear()

    def refuse(self, *_: Any) -> None:
        """A document type: nobody needs one."""
        raise self.damaged


def parse(data: bytes, subject: str) -> Appliance:
    """The machine that a descriptor describes. Raises BadInputError for a damaged one, UnsupportedError for several machines."""
    damaged = BadInputError(subject, "its OVF descriptor is damaged", "export it again")
    if len(data) > LENGTH_MAX:
        raise damaged
    reader = _Reader(damaged)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.data
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise damaged from error
    if reader.systems != 1:
        raise UnsupportedError(subject, f"it has {reader.systems} machines", "export each of its machines alone")
    if reader.chunked:
        raise UnsupportedError(subject, "its files are cut or compressed", "export it as OVA")
    return _appliance(reader, damaged)


def _appliance(reader: _Reader, damaged: BadInputError) -> Appliance:
    cpus = memory = 0
    cards = []
    placed = []
    for item in reader.items:
        kind = _number(item.get("ResourceType", "0"), damaged)
        if kind == CPU:
            cpus += _number(item.get("VirtualQuantity", "0"), damaged)
        elif kind == MEMORY:
            memory += _scaled(item.get("VirtualQuantity", "0"), item.get("AllocationUnits", "byte"), damaged)
        elif kind == NETWORK:
            cards.append(item.get("Connection", ""))
        elif kind == DISK:
            place = item.get("Parent", ""), _number(item.get("AddressOnParent") or "0", damaged)
            placed.append((place, item.get("HostResource", "").rpartition("/")[2]))
    if cpus > 1 << 16 or memory > _MOST or len(placed) > 256:
        raise damaged
    disks = []
    for _, key in sorted(placed):
        disk = reader.disks.get(key)
        if disk is None or (disk.get("fileRef") and disk["fileRef"] not in reader.files):
            raise damaged
        size = _scaled(disk.get("capacity", "0"), disk.get("capacityAllocationUnits", "byte"), damaged)
        disks.append(ApplianceDisk(reader.files.get(disk.get("fileRef", ""), ""), size))
    return Appliance(reader.name, cpus, memory, tuple(disks), tuple(cards))


def _number(text: str, damaged: BadInputError) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise damaged
    return int(text)


def _scaled(text: str, units: str, damaged: BadInputError) -> int:
    known = _UNITS.fullmatch(units.strip().lower())
    bits = int(known[1]) if known else _WORDS.get(units.strip().lower(), -1)
    if not 0 <= bits <= 50:
        raise damaged
    return _number(text, damaged) << bits


_HEAD: Final = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
"""


def make(appliance: Appliance) -> bytes:
    """A descriptor. The disks are streamOptimized VMDK; each without a file is an empty one."""
    filed = [disk for disk in appliance.disks if disk.file]
    files = "".join(f'<File ovf:href={quoteattr(disk.file)} ovf:id="file{number}"/>' for number, disk in enumerate(filed))
    disks = "".join(
        f'<Disk ovf:capacity="{disk.size}" ovf:capacityAllocationUnits="byte" ovf:diskId="disk{number}"'
        + (f' ovf:fileRef="file{filed.index(disk)}"' if disk.file else "")
        + f' ovf:format="{STREAM}"/>'
        for number, disk in enumerate(appliance.disks)
    )
    networks = "".join(f"<Network ovf:name={quoteattr(name)}><Description/></Network>" for name in sorted(set(appliance.cards)))
    items: list[dict[str, object]] = [
        {"Caption": "processors", "ElementName": "processors", "ResourceType": CPU, "VirtualQuantity": appliance.cpus},
        {"AllocationUnits": "byte * 2^20", "ElementName": "memory", "ResourceType": MEMORY, "VirtualQuantity": appliance.memory >> 20},
        {"Address": 0, "ElementName": "SATA controller", "ResourceSubType": "AHCI", "ResourceType": 20},
    ]
    items += [
        {"AddressOnParent": at, "ElementName": f"disk {at}", "HostResource": f"ovf:/disk/disk{at}", "Parent": 3, "ResourceType": DISK}
        for at in range(len(appliance.disks))
    ]
    items += [
        {"AutomaticAllocation": "true", "Connection": name, "ElementName": name, "ResourceSubType": "E1000", "ResourceType": NETWORK}
        for name in appliance.cards
    ]
    hardware = "".join(_item({**item, "InstanceID": number}) for number, item in enumerate(items, 1))
    name = escape(appliance.name)
    return (
        f"{_HEAD}<References>{files}</References>\n<DiskSection><Info>disks</Info>{disks}</DiskSection>\n"
        + (f"<NetworkSection><Info>networks</Info>{networks}</NetworkSection>\n" if networks else "")
        + f"<VirtualSystem ovf:id={quoteattr(appliance.name)}><Info>a machine</Info><Name>{name}</Name>\n"
        + '<OperatingSystemSection ovf:id="1"><Info>any</Info></OperatingSystemSection>\n'
        + "<VirtualHardwareSection><Info>hardware</Info><System><vssd:ElementName>hardware</vssd:ElementName>"
        + f"<vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>"
        + "<vssd:VirtualSystemType>vmx-07</vssd:VirtualSystemType></System>\n"
        + f"{hardware}</VirtualHardwareSection></VirtualSystem></Envelope>\n"
    ).encode()


def _item(told: dict[str, object]) -> str:
    """An item; its children stand in alphabetical order (the schema of CIM_ResourceAllocationSettingData)."""
    return "<Item>" + "".join(f"<rasd:{key}>{escape(str(told[key]))}</rasd:{key}>" for key in sorted(told)) + "</Item>"
