"""The kernel that tells its first instruction: what it executes, by the processor's own description."""

from __future__ import annotations

from bench.measures.start import SERIAL_PAGE, T0, T1, TEXT, WORD, telling

from gasang.cpus.riscv64.isa import rv64
from gasang.kinds.vm.loader import load_kernel
from support.kernels import RAM_BASE, efi_image


def executed(image: bytes) -> list[tuple[str, dict[str, int]]]:
    """Instructions from the image's first byte until it waits."""
    found: list[tuple[str, dict[str, int]]] = []
    at = 0
    while not found or found[-1][0] != "wfi":
        word = int.from_bytes(image[at : at + 4], "little")
        decoded = rv64.decode(word)
        assert decoded is not None
        name = decoded.instruction.name
        operands = {operand.name: operand.extract(decoded.word) for operand in decoded.instruction.pattern.operands.values()}
        found.append((name, operands))
        at += operands["imm"] if name == "jal" else decoded.instruction.length
    word = int.from_bytes(image[at : at + 4], "little")
    last = rv64.decode(word)
    assert last is not None
    assert (last.instruction.name, last.instruction.pattern.operands["imm"].extract(word)) == ("jal", -4)
    return found


def test_the_word_is_sent_to_the_serial_line() -> None:
    original = efi_image(b"\x13\0\0\0" * TEXT)
    told = telling(original)
    begin, jump, upper, *letters, _ = executed(told)
    assert begin[0] == "c.li"
    assert jump[1]["rd"] == 0
    assert upper[0] == "lui"
    assert upper[1] == {"rd": T0, "imm": SERIAL_PAGE << 12}
    values = [operands["imm"] for name, operands in letters if name == "addi"]
    assert bytes(values).decode() == f"{WORD}\n"
    assert [name for name, _ in letters] == ["addi", "sb"] * len(values)
    assert all(
        operands in ({"rs1": T0, "rs2": T1, "imm": 0}, {"rd": T1, "rs1": 0, "imm": value})
        for (_, operands), value in zip(letters, [v for v in values for _ in range(2)], strict=True)
    )


def test_the_rest_is_as_it_was() -> None:
    original = efi_image(b"\x13\0\0\0" * TEXT)
    told = telling(original)
    assert len(told) == len(original)
    assert told[8:TEXT] == original[8:TEXT]
    assert told[TEXT + 200 :] == original[TEXT + 200 :]
    assert load_kernel(told, "Image", RAM_BASE).entry == load_kernel(original, "Image", RAM_BASE).entry
