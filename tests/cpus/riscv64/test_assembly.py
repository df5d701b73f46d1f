"""Assembler text and illegal encodings against GNU objdump (2.40 or later)."""

import random
import re
from collections.abc import Callable, Sequence

import pytest

from gasang.cpus.riscv64.assembly import disassemble
from gasang.cpus.riscv64.csr_names import CSR_NAMES
from gasang.cpus.riscv64.isa import rv64

Objdump = Callable[[Sequence[int], str], list[str]]
EACH = 25
UNKNOWN = (".2byte", ".4byte", "unimp", "c.unimp")

WRITTEN_DIFFERENTLY = {
    "c.nop": "objdump writes it c.addi x0,0",
    "c.srli": "a shift by 0, a hint, is c.srli64 to objdump",
    "c.srai": "a shift by 0, a hint, is c.srai64 to objdump",
    "c.slli": "a shift by 0, a hint, is c.slli64 to objdump",
}
"""Encodings of these, and only those objdump spells as said, may differ."""

LEGAL_HERE_ONLY = {
    "fence": "fm, rs1 and rd are to be ignored (unprivileged specification, 2.7); objdump knows the values in use only",
    **dict.fromkeys(("fcvt.d.w", "fcvt.d.wu", "fcvt.d.s"), "exact, so objdump 2.40 takes and writes no rounding mode but RNE"),
    "fence.i": "imm, rs1 and rd are to be ignored (unprivileged specification, chapter 6)",
}
LEGAL_FOR_OBJDUMP_ONLY = {
    "c.addi16sp": "an immediate of 0 is reserved (26.5.2)",
    "unimp": "csrrw to a counter, the assembler's name for an instruction that must trap",
}


def any_word_of(name: str, chance: random.Random) -> int:
    """A random encoding of an instruction."""
    pattern = rv64.by_name[name].pattern
    while True:
        word = pattern.match | chance.getrandbits(32) & ~pattern.mask & (1 << 8 * pattern.length) - 1
        decoded = rv64.decode(word)
        if decoded is not None and decoded.instruction.name == name:
            return word


def sample(seed: int) -> list[int]:
    chance = random.Random(seed)
    return [any_word_of(name, chance) for name in rv64.by_name for _ in range(EACH)]


def named(word: int) -> bool:
    """Whether a CSR instruction's register has a name; objdump names those of RV32 too."""
    decoded = rv64.decode(word)
    assert decoded is not None
    return decoded.operands.get("csr", 0) in {0, *CSR_NAMES}


def spellings(name: str, text: str) -> set[str]:
    """What we may write for objdump's text: the same, less its habits."""
    if name in LEGAL_HERE_ONLY and name.startswith("fcvt"):
        text += ",rne"
    # A jump's target within the section stands without 0x.
    return {text, re.sub(r"^((?:c\.)?[bj][a-z]*\t(?:.*,)?)([0-9a-f]+)$", r"\g<1>0x\2", text)}


@pytest.mark.parametrize("seed", [1, 2])
def test_without_aliases_the_text_is_objdumps(objdump: Objdump, seed: int) -> None:
    words = [word for word in sample(seed) if named(word)]
    differing = []
    for index, (word, text) in enumerate(zip(words, objdump(words, "no-aliases,numeric"), strict=True)):
        decoded = rv64.decode(word)
        assert decoded is not None
        name = decoded.instruction.name
        if text.startswith(UNKNOWN):
            assert name in LEGAL_HERE_ONLY, f"{word:#x} {name}: {text}"
        elif disassemble(word, 4 * index, aliases=False, numeric=True) not in spellings(name, text):
            differing.append((name, text))
    strange = [(name, text) for name, text in differing if name not in WRITTEN_DIFFERENTLY or ("64" not in text and name != "c.nop")]
    assert not strange


def test_control_registers_have_objdumps_names(objdump: Objdump) -> None:
    words = [rv64.by_name["csrrs"].encode(rd=1, csr=number, rs1=0) for number in range(0x1000)]
    differing = {}
    for word, text in zip(words, objdump(words, "no-aliases,numeric"), strict=True):
        ours = disassemble(word, aliases=False, numeric=True)
        if ours != text:
            differing[ours.split(",")[1]] = text.split(",")[1]
    for ours, theirs in differing.items():
        assert theirs.endswith("h"), "the upper halves of registers exist on RV32 only"
        assert ours.startswith("0x")


SHORT_NAMES = {
    "addi": "add", "andi": "and", "ori": "or", "xori": "xor", "addiw": "addw",
    "slli": "sll", "srli": "srl", "srai": "sra", "slliw": "sllw", "srliw": "srlw", "sraiw": "sraw",
    "csrrwi": "csrrw", "csrrsi": "csrrs", "csrrci": "csrrc", "csrwi": "csrw", "csrsi": "csrs", "csrci": "csrc",
    "fsrmi": "fsrm", "fsflagsi": "fsflags",
    "rori": "ror", "roriw": "rorw", "bclri": "bclr", "bexti": "bext", "binvi": "binv", "bseti": "bset",
}  # fmt: skip
"""objdump 2.40 drops the i of the immediate forms; earlier and later versions do not."""


def test_pseudo_instructions_are_objdumps(objdump: Objdump) -> None:
    words = [word for word in sample(3) if named(word)]
    for index, (word, text) in enumerate(zip(words, objdump(words, ""), strict=True)):
        decoded = rv64.decode(word)
        assert decoded is not None
        name = decoded.instruction.name
        ours = disassemble(word, 4 * index)
        mnemonic, tab, operands = ours.partition("\t")
        same = {ours, SHORT_NAMES.get(mnemonic, mnemonic) + tab + operands}
        if same & spellings(name, text) or text.startswith(UNKNOWN):
            continue
        hint = name.startswith("c.") and (text.startswith("c.") or (name == "c.addi" and text.endswith(",0")))
        assert hint, f"{word:#x} {name}: {ours!r}, objdump {text!r}"


def test_all_short_words_are_legal_where_objdump_knows_them(objdump: Objdump) -> None:
    words = [word for word in range(0x10000) if word & 3 != 3]
    for word, text in zip(words, objdump(words, "no-aliases,numeric"), strict=True):
        decoded = rv64.decode(word)
        unknown = text.startswith(UNKNOWN)
        if decoded is None:
            assert unknown or text.split()[0] in LEGAL_FOR_OBJDUMP_ONLY, f"{word:#x} is {text}"
        else:
            assert not unknown, f"{word:#x} is not {decoded.instruction.name}"


def test_random_words_are_legal_where_objdump_knows_them(objdump: Objdump) -> None:
    chance = random.Random(5)
    opcodes = sorted({instruction.match & 0x7F for instruction in rv64 if instruction.length == 4})
    words = []
    for _ in range(20_000):
        word = chance.getrandbits(32) & ~0x7F | chance.choice(opcodes)
        # Fields of zeroes are common in the tables: bring them about more often than chance does.
        words.append(word & ~chance.choice([0, 0xFE000000, 0x7000, 0x01F00000, 0xFFF00000, 0xF80]))
    words += [chance.getrandbits(32) & ~0x1F | chance.choice([0x03, 0x07, 0x0B, 0x0F, 0x13, 0x17, 0x1B]) for _ in range(5000)]
    legal = 0
    for word, text in zip(words, objdump(words, "no-aliases,numeric"), strict=True):
        decoded = rv64.decode(word)
        if decoded is None:
            assert text.startswith(UNKNOWN) or text.split()[0] in LEGAL_FOR_OBJDUMP_ONLY, f"{word:#x} is {text}"
        else:
            legal += 1
            known = not text.startswith(UNKNOWN) or decoded.instruction.name in LEGAL_HERE_ONLY
            assert known or text in LEGAL_FOR_OBJDUMP_ONLY, f"{word:#x} is not {decoded.instruction.name}"
    assert legal > 2000


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x00000013, "nop"),
        (0x00A00513, "li\ta0,10"),
        (0x00008067, "ret"),
        (0x8082, "ret"),
        (0xFE0508E3, "beqz\ta0,0xff0"),
        (0x12345537, "lui\ta0,0x12345"),
        (0x0FF0000F, "fence"),
        (0x8330000F, "fence.tso"),
        (0x0100000F, "pause"),
        (0x00C5A52F, "amoadd.w\ta0,a2,(a1)"),
        (0x06C5A52F, "amoadd.w.aqrl\ta0,a2,(a1)"),
        (0x0000, ".2byte\t0x0000"),
        (0xFFFFFFFF, ".4byte\t0xffffffff"),
    ],
)
def test_texts_as_people_write_them(word: int, text: str) -> None:
    assert disassemble(word, 0x1000) == text


def test_targets_are_written_by_the_symbolizer() -> None:
    assert disassemble(0x0000006F, 0x1000, symbolize=lambda address: f"<{address:x}>") == "j\t<1000>"


def test_targets_wrap_at_the_end_of_the_address_space() -> None:
    assert disassemble(0x0040006F, 0xFFFFFFFFFFFFFFFC) == "j\t0x0"
