"""Bare machines for all tests here; GNU objdump as the judge of decoder and disassembler."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.bare import make_bare

__all__ = ["make_bare", "objdump"]
MARCH = "rv64gc_zba_zbb_zbs_zicbom_zicboz"
TOOLS = "riscv64-linux-gnu-"
LINE = re.compile(r"\s*([0-9a-f]+):\t[0-9a-f ]+\t(.*)")
NOP = 0x0001

Objdump = Callable[[Sequence[int], str], list[str]]


@pytest.fixture
def objdump(tmp_path: Path) -> Objdump:
    """Disassembles words, each at four times its index, with these -M options: what objdump prints, less comments and symbols."""
    try:
        subprocess.run([TOOLS + "objdump", "--version"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("riscv64-linux-gnu-objdump is not installed (Debian package binutils-riscv64-linux-gnu)")

    def run(words: Sequence[int], options: str) -> list[str]:
        code = b"".join((word if word & 3 == 3 else word | NOP << 16).to_bytes(4, "little") for word in words)
        (tmp_path / "empty.s").write_text(".text\n")
        (tmp_path / "code").write_bytes(code)
        subprocess.run([TOOLS + "as", f"-march={MARCH}", "empty.s", "-o", "empty.o"], check=True, cwd=tmp_path)
        subprocess.run([TOOLS + "objcopy", "--update-section", ".text=code", "empty.o", "code.o"], check=True, cwd=tmp_path)
        command = [TOOLS + "objdump", "-d", "-z", *(["-M", options] if options else []), "code.o"]
        listing = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
        lines = {int(line[1], 16): line[2] for line in map(LINE.match, listing.splitlines()) if line}
        return [re.sub(r"\s+#.*| <.*", "", lines[4 * index]).strip() for index in range(len(words))]

    return run
