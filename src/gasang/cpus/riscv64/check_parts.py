"""What the check of compiled regions is made of. Imported only to compile it."""

from __future__ import annotations

from gasang.cpus.riscv64 import check, check_shadow
from gasang.cpus.riscv64.regions import HELPERS
from gasang.native import NativeFunction
from gasang.native.library import Parts


def make_parts() -> Parts:
    """The functions that Python calls, where a run on the shadow ends, and what regions call on it."""
    entries: list[NativeFunction] = [check.begin_checked, check.prepare_shadow, check.begin_write, check.end_write]
    helpers = [check_shadow.CHECKED_HELPERS.get(helper.name, helper) for helper in HELPERS]
    return Parts(entries, {"caught": [check_shadow.caught], "helpers": helpers}, {})
