"""The device tree of the `virt` board, as the Linux bindings describe its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gasang.devices.aclint import MTIME
from gasang.devices.fdt import Node, as_properties, encode, reg, u64
from gasang.devices.syscon import PowerAction
from gasang.kinds.vm.isa_string import isa_string, ordered

PLIC_PHANDLE, SYSCON_PHANDLE, CPU_PHANDLE = 1, 2, 0x100
"""Phandles: hart h has CPU_PHANDLE + 2 h, its interrupt controller the one after."""
SUPERVISOR_SOFTWARE, SUPERVISOR_EXTERNAL, NOT_CONNECTED = 1, 9, 0xFFFF_FFFF
SERIAL_CLOCK = 3_686_400


@dataclass(frozen=True)
class Machine:
    """What the tree says of processors and memory; `ram` is (base, size)."""

    harts: int
    ram: tuple[int, int]
    extensions: Sequence[str]
    mmu_type: str
    timebase: int
    cache_block: int
    interrupt_sources: int


@dataclass(frozen=True)
class Placement:
    """Where a device is: its window and its interrupt, 0 for none."""

    name: str
    base: int
    size: int
    irq: int = 0


def device_tree(machine: Machine, placements: Sequence[Placement], bootargs: str, initrd: tuple[int, int] | None, rng_seed: bytes) -> bytes:
    """The blob of the whole board."""
    soc = Node("soc", {"#address-cells": 2, "#size-cells": 2, "compatible": "simple-bus", "ranges": True})
    soc.children = [_device(machine, placement) for placement in placements]
    paths = {placement.name: f"/soc/{node.name}" for placement, node in zip(placements, soc.children, strict=True)}
    root = Node("", {"#address-cells": 2, "#size-cells": 2, "compatible": "riscv-virtio", "model": "gasang,virt"})
    root.children = [
        Node("aliases", {"serial0": paths["serial"]}),
        _chosen(paths["serial"], bootargs, initrd, rng_seed),
        Node(f"memory@{machine.ram[0]:x}", {"device_type": "memory", "reg": reg(machine.ram)}),
        _cpus(machine),
        _power("poweroff", "syscon-poweroff", PowerAction.OFF),
        _power("reboot", "syscon-reboot", PowerAction.RESET),
        soc,
    ]
    return encode(root)


def _chosen(console: str, bootargs: str, initrd: tuple[int, int] | None, rng_seed: bytes) -> Node:
    return Node(
        "chosen",
        as_properties(
            {
                "stdout-path": console,
                "bootargs": bootargs,
                "linux,initrd-start": u64(initrd[0]) if initrd else None,
                "linux,initrd-end": u64(initrd[1]) if initrd else None,
                "rng-seed": rng_seed or None,
            }
        ),
    )


def _cpus(machine: Machine) -> Node:
    cores = [Node(f"core{hart}", {"cpu": _cpu_phandle(hart)}) for hart in range(machine.harts)]
    topology = Node("cpu-map", children=[Node("cluster0", children=cores)])
    return Node(
        "cpus",
        {"#address-cells": 1, "#size-cells": 0, "timebase-frequency": machine.timebase},
        [*(_cpu(machine, hart) for hart in range(machine.harts)), topology],
    )


def _cpu(machine: Machine, hart: int) -> Node:
    names = ordered(machine.extensions)
    controller = Node(
        "interrupt-controller",
        {
            "#interrupt-cells": 1,
            "interrupt-controller": True,
            "#address-cells": 0,
            "compatible": "riscv,cpu-intc",
            "phandle": _intc_phandle(hart),
        },
    )
    return Node(
        f"cpu@{hart:x}",
        as_properties(
            {
                "phandle": _cpu_phandle(hart),
                "device_type": "cpu",
                "reg": hart,
                "status": "okay",
                "compatible": "riscv",
                "riscv,isa": isa_string(names),
                "riscv,isa-base": "rv64i",
                "riscv,isa-extensions": names,
                "mmu-type": machine.mmu_type,
                "riscv,cbom-block-size": machine.cache_block if "zicbom" in names else None,
                "riscv,cboz-block-size": machine.cache_block if "zicboz" in names else None,
            }
        ),
        [controller],
    )


def _power(name: str, compatible: str, action: PowerAction) -> Node:
    return Node(name, {"compatible": compatible, "regmap": SYSCON_PHANDLE, "offset": 0, "value": action.value})


def _plic(machine: Machine, placement: Placement) -> Node:
    # In the order of the contexts: hart 0 machine mode (absent), hart 0 supervisor mode, hart 1 …
    pairs = [(_intc_phandle(hart), cause) for hart in range(machine.harts) for cause in (NOT_CONNECTED, SUPERVISOR_EXTERNAL)]
    return Node(
        f"plic@{placement.base:x}",
        {
            "phandle": PLIC_PHANDLE,
            "compatible": ["sifive,plic-1.0.0", "riscv,plic0"],
            "reg": reg((placement.base, placement.size)),
            "#address-cells": 0,
            "#interrupt-cells": 1,
            "interrupt-controller": True,
            "interrupts-extended": [cell for pair in pairs for cell in pair],
            "riscv,ndev": machine.interrupt_sources,
        },
    )


def _serial(machine: Machine, placement: Placement) -> Node:
    return _interrupting("serial", "ns16550a", placement, {"clock-frequency": SERIAL_CLOCK})


def _rtc(machine: Machine, placement: Placement) -> Node:
    return _interrupting("rtc", "google,goldfish-rtc", placement, {})


def _virtio(machine: Machine, placement: Placement) -> Node:
    return _interrupting("virtio_mmio", "virtio,mmio", placement, {})


def _syscon(machine: Machine, placement: Placement) -> Node:
    return Node(
        f"test@{placement.base:x}",
        {
            "phandle": SYSCON_PHANDLE,
            "compatible": ["sifive,test1", "sifive,test0", "syscon"],
            "reg": reg((placement.base, placement.size)),
        },
    )


def _generation(machine: Machine, placement: Placement) -> Node:
    return _interrupting("vmgenid", "microsoft,vmgenid", placement, {})


def _mtimer(machine: Machine, placement: Placement) -> Node:
    ranges = (placement.base + MTIME, 8), (placement.base, MTIME)
    pairs = [(_intc_phandle(hart), NOT_CONNECTED) for hart in range(machine.harts)]
    node = _aclint("mtimer", "riscv,aclint-mtimer", placement, reg(*ranges), pairs)
    node.name = f"mtimer@{placement.base + MTIME:x}"
    return node


def _sswi(machine: Machine, placement: Placement) -> Node:
    pairs = [(_intc_phandle(hart), SUPERVISOR_SOFTWARE) for hart in range(machine.harts)]
    node = _aclint("sswi", "riscv,aclint-sswi", placement, reg((placement.base, placement.size)), pairs)
    node.properties |= {"#address-cells": 0, "#interrupt-cells": 0, "interrupt-controller": True}
    return node


def _aclint(name: str, compatible: str, placement: Placement, window: list[int], pairs: Sequence[tuple[int, int]]) -> Node:
    extended = [cell for pair in pairs for cell in pair]
    return Node(f"{name}@{placement.base:x}", {"compatible": compatible, "reg": window, "interrupts-extended": extended})


def _interrupting(name: str, compatible: str, placement: Placement, more: Mapping[str, int]) -> Node:
    return Node(
        f"{name}@{placement.base:x}",
        {
            "compatible": compatible,
            "reg": reg((placement.base, placement.size)),
            "interrupts": placement.irq,
            "interrupt-parent": PLIC_PHANDLE,
            **more,
        },
    )


def _device(machine: Machine, placement: Placement) -> Node:
    return _NODES[placement.name.rstrip("0123456789")](machine, placement)


def _cpu_phandle(hart: int) -> int:
    return CPU_PHANDLE + 2 * hart


def _intc_phandle(hart: int) -> int:
    return CPU_PHANDLE + 2 * hart + 1


_NODES: Mapping[str, Callable[[Machine, Placement], Node]] = {
    "generation": _generation,
    "mtimer": _mtimer,
    "plic": _plic,
    "rtc": _rtc,
    "serial": _serial,
    "sswi": _sswi,
    "syscon": _syscon,
    "virtio": _virtio,
}
