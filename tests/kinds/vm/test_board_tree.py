"""The board's device tree, read back as a kernel reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gasang.devices.fdt import Node, cells, decode, text
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.board import BoardConfig, VirtBoard, Wires
from support.board_parts import FakeMemory

EXTENSIONS = ("i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr", "zba", "zbb", "zbs", "zicbom", "zicboz", "sstc")


def board(harts: int = 2, aclint: bool = False, extensions: tuple[str, ...] = EXTENSIONS, mmu_type: str = "riscv,sv57") -> VirtBoard:
    wire = [lambda level: None] * harts
    wires = Wires(wire, lambda request: None, bytearray().extend, wire if aclint else None, (lambda: 0) if aclint else None)
    return VirtBoard(BoardConfig(harts, 1 << 33, extensions, mmu_type), FakeMemory(), wires, [VirtioRng(), VirtioRng()])


def walk(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in walk(child))]


def test_chosen_tells_the_kernel_how_to_start() -> None:
    root = decode(board().device_tree("console=hvc0 root=/dev/vda", (0x1_8800_0000, 0x1_8900_0000), bytes(range(32))))
    chosen = root.find("/chosen").properties
    assert text(chosen["bootargs"]) == ["console=hvc0 root=/dev/vda"]
    assert cells(chosen["linux,initrd-start"]) == [1, 0x8800_0000]
    assert cells(chosen["linux,initrd-end"]) == [1, 0x8900_0000]
    assert chosen["rng-seed"] == bytes(range(32))
    (path,) = text(chosen["stdout-path"])
    assert text(root.find(path).properties["compatible"]) == ["ns16550a"]
    assert text(root.find("/aliases").properties["serial0"]) == [path]


def test_without_initrd_and_seed_nothing_is_said_of_them() -> None:
    chosen = decode(board().device_tree()).find("/chosen").properties
    assert set(chosen) == {"stdout-path", "bootargs"}


def test_processors_say_what_they_can() -> None:
    root = decode(board(3).device_tree())
    assert cells(root.find("/cpus").properties["timebase-frequency"]) == [10_000_000]
    for hart in range(3):
        cpu = root.find(f"/cpus/cpu@{hart}").properties
        assert cells(cpu["reg"]) == [hart]
        assert text(cpu["riscv,isa"]) == ["rv64imafdc_zicbom_zicboz_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc"]
        assert text(cpu["riscv,isa-base"]) == ["rv64i"]
        assert set(text(cpu["riscv,isa-extensions"])) == set(EXTENSIONS)
        assert text(cpu["mmu-type"]) == ["riscv,sv57"]
        assert [cells(cpu[name]) for name in ("riscv,cbom-block-size", "riscv,cboz-block-size")] == [[64], [64]]
        core = root.find(f"/cpus/cpu-map/cluster0/core{hart}").properties
        assert core["cpu"] == cpu["phandle"]


def test_cache_blocks_are_told_only_where_there_are_such_instructions() -> None:
    cpu = decode(board(1, extensions=("i", "m"), mmu_type="riscv,sv39").device_tree()).find("/cpus/cpu@0").properties
    assert "riscv,cbom-block-size" not in cpu
    assert "riscv,cboz-block-size" not in cpu
    assert text(cpu["mmu-type"]) == ["riscv,sv39"]


def test_memory_is_where_it_is() -> None:
    memory = decode(board().device_tree()).find("/memory@80000000").properties
    assert cells(memory["reg"]) == [0, 0x8000_0000, 2, 0]


@pytest.mark.parametrize("aclint", [False, True])
def test_every_device_of_the_bus_is_announced_and_nothing_else(aclint: bool) -> None:
    machine = board(aclint=aclint)
    announced = set()
    for node in decode(machine.device_tree()).find("/soc").children:
        window = cells(node.properties["reg"])
        for at in range(0, len(window), 4):
            announced.add((window[at + 1], window[at + 3]))
        assert int(node.name.split("@")[1], 16) == window[1]
    mtimer = {(0x200_4000, 0x7FF8), (0x200_BFF8, 8)} if aclint else set()
    assert announced == {(region.base, region.end - region.base) for region in machine.bus.regions if region.name != "mtimer"} | mtimer


def test_interrupts_lead_to_the_controller_and_from_there_to_the_harts() -> None:
    root = decode(board(2, aclint=True).device_tree())
    nodes = walk(root)
    phandles = [cells(node.properties["phandle"])[0] for node in nodes if "phandle" in node.properties]
    assert len(phandles) == len(set(phandles))
    plic = root.find("/soc/plic@c000000").properties
    harts = [cells(root.find(f"/cpus/cpu@{hart}/interrupt-controller").properties["phandle"])[0] for hart in range(2)]
    assert cells(plic["interrupts-extended"]) == [harts[0], 0xFFFF_FFFF, harts[0], 9, harts[1], 0xFFFF_FFFF, harts[1], 9]
    assert cells(root.find("/soc/sswi@2f00000").properties["interrupts-extended"]) == [harts[0], 1, harts[1], 1]
    sources = {}
    for node in nodes:
        if "interrupts" in node.properties:
            assert node.properties["interrupt-parent"] == plic["phandle"]
            sources[node.name] = cells(node.properties["interrupts"])[0]
    assert sources == {
        "serial@10000000": 10, "rtc@101000": 11, "vmgenid@102000": 9, "virtio_mmio@10001000": 1, "virtio_mmio@10002000": 2,
    }  # fmt: skip
    assert max(sources.values()) <= cells(plic["riscv,ndev"])[0]


def test_power_goes_through_the_syscon() -> None:
    root = decode(board().device_tree())
    syscon = root.find("/soc/test@100000").properties["phandle"]
    for name, value in (("poweroff", 0x5555), ("reboot", 0x7777)):
        node = root.find(f"/{name}").properties
        assert (node["regmap"], cells(node["value"]), text(node["compatible"])) == (syscon, [value], [f"syscon-{name}"])


@pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc (device-tree-compiler) is not installed")
@pytest.mark.parametrize("aclint", [False, True])
def test_dtc_has_nothing_to_complain_of(aclint: bool) -> None:
    blob = board(aclint=aclint).device_tree("quiet", (0x8800_0000, 0x8900_0000), bytes(32))
    done = subprocess.run(["dtc", "-I", "dtb", "-O", "dts"], input=blob, capture_output=True, check=True)
    assert done.stderr == b""
