"""C: compressed instructions without floating point (unprivileged specification, chapter 26).

Each is another encoding of a base instruction. Hints (rd = x0 where nothing else is meant, shifts by 0, …) are the base
instruction without effect; reserved encodings are excluded by constraints and so are illegal instructions.
"""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.i import (
    add,
    addi,
    addiw,
    addw,
    and_,
    andi,
    beq,
    bne,
    jal,
    jalr,
    ld,
    lui,
    lw,
    or_,
    sd,
    slli,
    srai,
    srli,
    sub,
    subw,
    sw,
    xor,
)
from gasang.cpus.riscv64.privileged import ebreak

SP = 2
RA = 1

rv64c = Extension("C", "Compressed instructions")

# Quadrant 0 (26.8).
rv64c.compressed("000 uimm[5:4|9:6|2|3] rd' 00 uimm!=0", "c.addi4spn", addi, syntax="rd, rs1, imm", rs1=SP)
rv64c.compressed("010 uimm[5:3] rs1' uimm[2|6] rd' 00", "c.lw", lw)
rv64c.compressed("011 uimm[5:3] rs1' uimm[7:6] rd' 00", "c.ld", ld)
rv64c.compressed("110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "c.sw", sw)
rv64c.compressed("111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "c.sd", sd)

# Quadrant 1.
rv64c.compressed("000 0 00000 00000 01", "c.nop", addi, syntax="", rd=0, rs1=0, imm=0)
rv64c.compressed("000 imm[5] rd imm[4:0] 01", "c.addi", addi, rs1="rd")
rv64c.compressed("001 imm[5] rd!=0 imm[4:0] 01", "c.addiw", addiw, rs1="rd")
rv64c.compressed("010 imm[5] rd imm[4:0] 01", "c.li", addi, rs1=0)
rv64c.compressed("011 imm[9] 00010 imm[4|6|8:7|5] 01 imm!=0", "c.addi16sp", addi, syntax="rd, imm", rd=SP, rs1=SP)
rv64c.compressed("011 imm[17] rd!=2 imm[16:12] 01 imm!=0", "c.lui", lui)
rv64c.compressed("100 uimm[5] 00 rd' uimm[4:0] 01", "c.srli", srli, rs1="rd")
rv64c.compressed("100 uimm[5] 01 rd' uimm[4:0] 01", "c.srai", srai, rs1="rd")
rv64c.compressed("100 imm[5] 10 rd' imm[4:0] 01", "c.andi", andi, rs1="rd")
rv64c.compressed("100 0 11 rd' 00 rs2' 01", "c.sub", sub, rs1="rd")
rv64c.compressed("100 0 11 rd' 01 rs2' 01", "c.xor", xor, rs1="rd")
rv64c.compressed("100 0 11 rd' 10 rs2' 01", "c.or", or_, rs1="rd")
rv64c.compressed("100 0 11 rd' 11 rs2' 01", "c.and", and_, rs1="rd")
rv64c.compressed("100 1 11 rd' 00 rs2' 01", "c.subw", subw, rs1="rd")
rv64c.compressed("100 1 11 rd' 01 rs2' 01", "c.addw", addw, rs1="rd")
rv64c.compressed("101 imm[11|4|9:8|10|6|7|3:1|5] 01", "c.j", jal, rd=0)
rv64c.compressed("110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "c.beqz", beq, rs2=0)
rv64c.compressed("111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "c.bnez", bne, rs2=0)

# Quadrant 2.
rv64c.compressed("000 uimm[5] rd uimm[4:0] 10", "c.slli", slli, rs1="rd")
rv64c.compressed("010 uimm[5] rd!=0 uimm[4:2|7:6] 10", "c.lwsp", lw, rs1=SP)
rv64c.compressed("011 uimm[5] rd!=0 uimm[4:3|8:6] 10", "c.ldsp", ld, rs1=SP)
rv64c.compressed("100 0 rs1!=0 00000 10", "c.jr", jalr, syntax="rs1", rd=0, imm=0)
rv64c.compressed("100 0 rd rs2!=0 10", "c.mv", add, rs1=0)
rv64c.compressed("100 1 00000 00000 10", "c.ebreak", ebreak)
rv64c.compressed("100 1 rs1!=0 00000 10", "c.jalr", jalr, syntax="rs1", rd=RA, imm=0)
rv64c.compressed("100 1 rd rs2!=0 10", "c.add", add, rs1="rd")
rv64c.compressed("110 uimm[5:2|7:6] rs2 10", "c.swsp", sw, rs1=SP)
rv64c.compressed("111 uimm[5:3|8:6] rs2 10", "c.sdsp", sd, rs1=SP)
