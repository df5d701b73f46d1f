"""Two instructions as one: handlers that execute an instruction and the one behind it, made from the same descriptions.

An interpreter spends most of its time on the way from one handler to the next, which the host's processor cannot foresee. For the pairs met
most often a second handler does both at once; it stands in the first one's record, and the second keeps its own for whoever jumps there.
With less than two of the budget left, and where the first must go the slow way, the first alone is executed.
"""

from __future__ import annotations

from gasang.cpus.instruction_set import SHORT, Instruction, InstructionSet
from gasang.cpus.riscv64.handlers import NEAR, at_once, compiled, filled, halves, handler_name, text_of
from gasang.native import NativeFunction

PAIRS = {
    "add_2": "add_2 ld_2 sltu_4 sd_4 bne_4 auipc_4 bgeu_4 slli_4 beq_4 addiw_2 mul_4 addi_2 beq_2 bltu_4 sd_2 "
    "sub_4 ld_4 bne_2 jal_2 jal_4 slli_2 andi_4 addi_4 add_4 lw_2 and_4 or_4 jalr_2 lbu_4 or_2 lw_4",
    "ld_2": "ld_2 addi_2 add_2 ld_4 beq_4 addi_4 addiw_2 srlw_4",
    "addi_2": "sd_2 jalr_2 addi_2 add_2 bne_4 beq_4 ld_2 bltu_4 addi_4 bne_2 "
    "bgeu_4 auipc_4 add_4 sd_4 beq_2 addw_2 jal_2 mul_4 subw_4 blt_4 sw_4",
    "sd_2": "sd_2 addi_2 add_2 ld_2 add_4 auipc_4",
    "ld_4": "ld_4 ld_2 add_2 jalr_4 sub_4 addi_2 sd_4 slli_4 beq_4 sw_2 xor_2 addi_4 add_4 srli_4",
    "addi_4": "addi_4 addi_2 add_2 beq_4 slli_4 auipc_4 bne_4 slli_2 ld_2 ld_4 lui_4 bltu_4 sd_2",
    "sd_4": "sd_4 add_2 addi_2 ld_4 addi_4 bne_4",
    "slli_4": "srli_4 add_2 srli_2 blt_4 slli_4",
    "lbu_4": "lbu_4 addi_2 andi_2 add_2 addw_4 addi_4",
    "auipc_4": "jalr_4 ld_4 addi_4 lw_4",
    "srli_4": "srli_2 mul_4 add_2 srli_4 slli_2 slli_4",
    "slli_2": "add_2 add_4 addi_4 or_4 srli_2",
    "add_4": "ld_2 xori_4 lbu_4 add_2 ld_4",
    "mul_4": "add_2 mul_4 slli_4 mulhu_4",
    "srli_2": "add_2 mul_4 srli_2",
    "sub_4": "slli_2 sltu_4 sltiu_4",
    "sltu_4": "add_2 srli_4 or_4 sd_2",
    "andi_4": "add_2 bne_2 addi_2 beq_4 bne_4",
    "lw_4": "beq_2 lw_4 auipc_4 andi_2 and_4",
    "andi_2": "beq_2 bne_2 bne_4",
    "addiw_2": "slli_4 addi_2 add_2",
    "or_4": "or_4 add_2",
    "and_4": "add_2 sltu_4 beq_2 slli_2",
    "xor_4": "xor_4",
    "sb_4": "sb_4 addi_2 bne_2",
    "or_2": "andi_4",
    "slliw_4": "addw_4 addi_2",
    "lw_2": "addi_2",
    "xori_4": "and_2",
    "and_2": "or_2 andi_2 and_2",
    "addw_4": "slliw_4 bne_2",
    "lui_4": "addi_4",
    "srl_4": "srl_4 and_2",
    "xor_2": "addi_2",
    "subw_4": "add_2 slli_4",
    "addw_2": "addw_2 lbu_4",
    "sltiu_4": "and_4",
    "sw_2": "sd_2",
    "mulhu_4": "add_2",
    "srlw_4": "srl_4",
}
"""To handlers' names those that a handler for both is made with, most frequent first. None that jumps is first.

63 of 100 instructions that Debian with systemd executes until its login prompt begin such a pair (489,084 samples).
"""
SHORT_FIRST, LONG_FIRST = "fused_2", "fused_4"

_BEFORE = """
def {name}(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    if unlikely(budget < 2):
        return tail_call(alone, cpu, record, budget)
"""
_AND_THEN = """
    record = record + {records}
    budget = budget - 1
"""


def fused_handlers(instruction_set: InstructionSet, rows: list[NativeFunction]) -> dict[str, list[NativeFunction]]:
    """Two tables of handlers by three: of an instruction, of one behind it, and of both at once. `rows` is the dispatch table.

    The first are two bytes long in one table, four in the other.
    """
    alone = {row.name: row for row in rows}
    instructions: dict[str, Instruction] = {}
    for instruction in instruction_set:
        instructions.setdefault(handler_name(instruction, NEAR), instruction)
    tables: dict[str, list[NativeFunction]] = {SHORT_FIRST: [], LONG_FIRST: []}
    for name, followers in PAIRS.items():
        first = instructions[name]
        table = tables[SHORT_FIRST if first.length == SHORT else LONG_FIRST]
        for follower in followers.split():
            table += [alone[name], alone[follower], _both(first, instructions[follower], alone[name])]
    return tables


def _both(first: Instruction, second: Instruction, alone: NativeFunction) -> NativeFunction:
    name = f"{handler_name(first, NEAR)}_and_{handler_name(second, NEAR)}"
    head = filled(_BEFORE + at_once(first) + _AND_THEN, first, name)
    text = text_of(second, name, head=head, body="then", on_fault="on_fault_then")
    (body, on_fault), (then, on_fault_then) = halves(first, NEAR, system=False), halves(second, NEAR, system=False)
    return compiled(text, first, alone=alone, body=body, on_fault=on_fault, then=then, on_fault_then=on_fault_then)
