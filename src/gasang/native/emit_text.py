"""The text of one LLVM function under construction: lines, fresh names, blocks. It knows nothing of the language."""

from __future__ import annotations


class TextEmitter:
    """Lines of LLVM IR with at most one open block."""

    def __init__(self, strict: bool) -> None:
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.count = 0
        self.block = "entry"
        self.open = True  # whether the current block still lacks its terminator
        self.strict = " strictfp" if strict else ""

    def line(self, text: str) -> None:
        """Append an instruction; after a terminator it is unreachable and dropped."""
        if self.open:
            self.lines.append("  " + text)

    def value(self, text: str) -> str:
        """Append an instruction that gives a value; its name."""
        self.count += 1
        name = f"%t{self.count}"
        if text.startswith("call") and self.strict and not text.endswith("strictfp"):
            text += self.strict
        self.line(f"{name} = {text}")
        return name

    def label(self, hint: str) -> str:
        """A fresh label."""
        self.count += 1
        return f"{hint}{self.count}"

    def slot(self, llvm_type: str) -> str:
        """A stack slot of the function's own."""
        name = f"%{self.label('slot')}"
        self.slots.append(f"  {name} = alloca {llvm_type}")
        return name

    def begin(self, label: str) -> None:
        """Begin a block that only jumps lead to."""
        assert not self.open, "the block before has no terminator"
        self.lines.append(f"{label}:")
        self.block = label
        self.open = True

    def start(self, label: str) -> None:
        """Begin a block, falling into it if the current one is open."""
        self.jump(label)
        self.begin(label)

    def jump(self, label: str) -> None:
        """Terminate the block with a jump."""
        self.terminate(f"br label %{label}")

    def branch(self, condition: str, then: str, other: str) -> None:
        """Terminate the block with a conditional jump."""
        self.terminate(f"br i1 {condition}, label %{then}, label %{other}")

    def terminate(self, text: str) -> None:
        """Terminate the block."""
        self.line(text)
        self.open = False
