"""Where things lie that regions use, and what LLVM is told of them: guest memory and the hart's are never the same."""

from __future__ import annotations

from gasang.cpus.riscv64.state import Cpu
from gasang.native.types import offset_of

CPU = "%cpu"
GUEST, HART = ", !tbaa !3", ", !tbaa !4"
NEARLY_ALWAYS = ", !prof !5"
METADATA = """
!0 = !{!"memory"}
!1 = !{!"guest", !0, i64 0}
!2 = !{!"hart", !0, i64 0}
!3 = !{!1, !1, i64 0}
!4 = !{!2, !2, i64 0}
!5 = !{!"branch_weights", i32 4000, i32 1}
"""


def field_offset(name: str) -> int:
    """Where a field of Cpu lies."""
    return offset_of(Cpu, name)
