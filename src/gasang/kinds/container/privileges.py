"""What this process may do, and what becomes of limits it may not set: they are clamped, with a warning, never an error."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from functools import cache

from gasang.host.processes import CAPABILITIES
from gasang.kinds.container.config.process import Process, Rlimit

_NO_LIMIT = (1 << 64) - 1


@cache
def effective_capabilities() -> int:
    """Our effective capabilities, as a mask."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def has_capability(name: str) -> bool:
    """Whether this process has a capability, named without its CAP_."""
    return bool(effective_capabilities() >> CAPABILITIES.index(name) & 1)


def is_rootless() -> bool:
    """Whether this process cannot act as root on the host."""
    return os.geteuid() != 0


@cache
def last_capability() -> int:
    """The highest capability the kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def clamp(process: Process, warnings: list[str], *, in_user_namespace: bool = False) -> Process:
    """A process whose limits this host lets us set; those of a user namespace's root are ours at most."""
    capabilities = process.capabilities
    warnings.extend(f"capability {name} is not known here; it is left out" for name in capabilities.unknown)
    known = (2 << last_capability()) - 1
    allowed = known & (effective_capabilities() if not is_rootless() else known)
    lacking = (capabilities.permitted | capabilities.effective | capabilities.bounding) & ~allowed
    if lacking:
        names = ", ".join(f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if lacking >> number & 1)
        warnings.append(f"capabilities {names} are not to be had on this host; they are left out")
        masks = {name: getattr(capabilities, name) & allowed for name in ("bounding", "effective", "inheritable", "permitted", "ambient")}
        process = replace(process, capabilities=replace(capabilities, **masks))
    if has_capability("SYS_RESOURCE") and not in_user_namespace:
        return process
    if process.rlimits:
        process = replace(process, rlimits=tuple(_clamp_limit(limit, warnings) for limit in process.rlimits))
    wanted = process.oom_score_adj
    if wanted is not None and wanted < (least := _own_oom_score()):
        warnings.append(f"oom_score_adj {wanted} needs CAP_SYS_RESOURCE; it is {least}")
        process = replace(process, oom_score_adj=least)
    return process


def _own_oom_score() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def _clamp_limit(limit: Rlimit, warnings: list[str]) -> Rlimit:
    own = resource.getrlimit(limit.kind)[1]
    most = _NO_LIMIT if own == resource.RLIM_INFINITY else own
    if limit.hard <= most:
        return limit
    warnings.append(f"{limit.name} {limit.hard} is above this host's {most} and needs CAP_SYS_RESOURCE; it is {most}")
    return replace(limit, soft=min(limit.soft, most), hard=most)
