"""Names for what a guest asks of its board: devices' registers, and calls of the supervisor binary interface (SBI 2.0)."""

from __future__ import annotations

from collections.abc import Sequence

from gasang.devices.bus import Bus, Region
from gasang.devices.register_names import register_name
from gasang.devices.table import VIRTIO_DEVICES
from gasang.devices.virtio.mmio import VirtioMmio
from gasang.kinds.vm.sbi import BASE, DBCN, HSM, IPI, RFENCE, SRST, TIME

PMU, SUSPEND, CPPC, NESTED, STEAL, FEATURES = 0x504D55, 0x53555350, 0x43505043, 0x4E41434C, 0x535441, 0x46574654

EXTENSIONS = {
    BASE: "BASE", TIME: "TIME", IPI: "IPI", RFENCE: "RFENCE", HSM: "HSM", SRST: "SRST", DBCN: "DBCN", PMU: "PMU", SUSPEND: "SUSP",
    CPPC: "CPPC", NESTED: "NACL", STEAL: "STA", FEATURES: "FWFT",
}  # fmt: skip

_MASK = ("hart_mask", "hart_mask_base")
_RANGE = (*_MASK, "start_addr", "size")
_BUFFER = ("num_bytes", "base_addr_lo", "base_addr_hi")

CALLS: dict[tuple[int, int], tuple[str, tuple[str, ...]]] = {
    (BASE, 0): ("get_spec_version", ()), (BASE, 1): ("get_impl_id", ()), (BASE, 2): ("get_impl_version", ()),
    (BASE, 3): ("probe_extension", ("extension_id",)), (BASE, 4): ("get_mvendorid", ()), (BASE, 5): ("get_marchid", ()),
    (BASE, 6): ("get_mimpid", ()),
    (TIME, 0): ("set_timer", ("stime_value",)), (IPI, 0): ("send_ipi", _MASK),
    (RFENCE, 0): ("remote_fence_i", _MASK), (RFENCE, 1): ("remote_sfence_vma", _RANGE),
    (RFENCE, 2): ("remote_sfence_vma_asid", (*_RANGE, "asid")),
    (HSM, 0): ("hart_start", ("hartid", "start_addr", "opaque")), (HSM, 1): ("hart_stop", ()), (HSM, 2): ("hart_get_status", ("hartid",)),
    (HSM, 3): ("hart_suspend", ("suspend_type", "resume_addr", "opaque")),
    (SRST, 0): ("system_reset", ("reset_type", "reset_reason")),
    (DBCN, 0): ("debug_console_write", _BUFFER), (DBCN, 1): ("debug_console_read", _BUFFER),
    (DBCN, 2): ("debug_console_write_byte", ("byte",)),
}  # fmt: skip
"""(extension, function) to the function's name without "sbi_" and its arguments' names (SBI 2.0, chapters 4 to 12)."""

LEGACY = {
    0: ("set_timer", ("stime_value",)), 1: ("console_putchar", ("ch",)), 2: ("console_getchar", ()), 3: ("clear_ipi", ()),
    4: ("send_ipi", ("hart_mask_address",)), 5: ("remote_fence_i", ("hart_mask_address",)),
    6: ("remote_sfence_vma", ("hart_mask_address", "start", "size")),
    7: ("remote_sfence_vma_asid", ("hart_mask_address", "start", "size", "asid")),
    8: ("shutdown", ()),
}  # fmt: skip
"""Extensions of the time before there were functions (chapter 5)."""


def call_name(extension: int, function: int, arguments: Sequence[int]) -> str:
    """A call as "EXTENSION name(argument=value, …)"; numbers where there are no names."""
    known = LEGACY.get(extension) or CALLS.get((extension, function))
    family = "legacy" if extension in LEGACY else EXTENSIONS.get(extension, f"{extension:#x}")
    if known is None:
        return f"{family} function {function}, a0 {arguments[0]:#x}, a1 {arguments[1]:#x}"
    name, names = known
    given = (f"{what}={_shown(what, given)}" for what, given in zip(names, arguments, strict=False))
    return f"{family} {name}({', '.join(given)})"


def _shown(what: str, given: int) -> str:
    return EXTENSIONS.get(given, f"{given:#x}") if what == "extension_id" else f"{given:#x}"


def region_name(region: Region) -> str:
    """What a window is called; behind a virtio transport also its device."""
    if not isinstance(region.device, VirtioMmio):
        return region.name
    kinds = {device: name for name, device in VIRTIO_DEVICES.items()}
    return f"{region.name} ({kinds.get(type(region.device.device), 'unknown')})"


class BoardNames:
    """The names on one board (accel.soft.tracer.Names)."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def place(self, address: int, *, is_write: bool) -> str:
        """Device and register at a guest-physical address, the offset where it has no name; "" where no device is."""
        region = next((region for region in self._bus.regions if region.base <= address < region.end), None)
        if region is None:
            return ""
        offset = address - region.base
        return f"{region_name(region)} {register_name(region.device, offset, is_write=is_write) or f'+{offset:#x}'}"

    def call(self, extension: int, function: int, arguments: Sequence[int]) -> str:
        """A firmware call by name."""
        return call_name(extension, function, arguments)
