"""What the compiled processor is made of. Imported only to compile it: this is every instruction's description."""

from __future__ import annotations

from gasang.cpus.decoder import DecoderTables
from gasang.cpus.riscv64 import (
    ahead,
    clock,
    code,
    execute,
    fusion,
    hot,
    jumps,
    line,
    mmu,
    outside,
    regions,
    reservation,
    stitcher,
    stitching,
    waits,
)
from gasang.cpus.riscv64.fused import fused_handlers
from gasang.cpus.riscv64.handlers import make_handlers, noting_handlers
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.stencils import make_stencils
from gasang.native import NativeFunction
from gasang.native.library import Parts

ENTRIES: tuple[NativeFunction, ...] = (
    execute.run,
    execute.complete,
    execute.serve_requests,
    mmu.wipe_tlb,
    mmu.enter_context,
    code.forget_all_blocks,
    outside.post,
    outside.retract,
    outside.ask,
    outside.time_of,
    outside.instructions,
    outside.host_wrote,
    waits.pending,
    reservation.give_up,
    outside.host_ticks,
    clock.steer_clock,
    ahead.decoded_marks,
    ahead.decode_ahead,
    code.code_place,
    code.code_near,
    hot.stretch_of,
    hot.heat_of,
    hot.set_heat,
    regions.block_stamp,
    regions.block_host,
    regions.stamp_block,
    regions.describe_page,
    regions.begin_region,
    jumps.watch_near,
    line.take_line,
    fusion.enter_fusions,
    stitcher.enter_stencils,
    stitching.end_stitching,
)  # fmt: skip


def make_parts() -> Parts:
    """The functions that Python calls, the handlers, and the decoder's tables."""
    rows = make_handlers(rv64)
    others: dict[str, list[NativeFunction]] = {"helpers": regions.HELPERS, "noting": noting_handlers(rv64, rows), "miss": [execute.miss]}
    tables = {"dispatch": rows, **others, **fused_handlers(rv64, rows)}
    data = {**DecoderTables(rv64).content, **make_stencils(rv64)._asdict()}
    return Parts(list(ENTRIES), tables, data)
