"""Random programs in native Python that also run unchanged in CPython, which is then the judge of control flow and order of evaluation.

Numbers stay small (every assignment keeps 16 bits of them), so that wrapping arithmetic and Python's own agree; memory is `p`, eight
numbers, and `bump(p, n)` is an expression with a side effect.
"""

from __future__ import annotations

import random

NAMES = ("x", "y", "z")
SIZE = 8
MASK = 0xFFFF

HELPERS = (
    """
def bump(p: ptr[i64], n: i64) -> i64:
    p[n & 7] = (p[n & 7] + 3) & 65535
    return p[n & 7]
""",
    """
def both(a: i64, b: i64) -> i64:
    if a > b:
        return a - b
    return a
""",
    """
def strict(p: ptr[i64], n: i64) -> None:
    p[0] = (p[0] + n) & 65535
    if n & 3 == 0:
        raise Fault
    p[1] = n
""",
)


class Author:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loops = 0

    def program(self, name: str) -> str:
        """The text of one def."""
        body = "\n".join(self.statements(1, 5))
        start = "\n".join(f"    {local}: i64 = {self.random.randrange(100)}" for local in NAMES[1:])
        end = "    return x ^ (y << 1) ^ (z << 2)"
        return f"def {name}(p: ptr[i64], x: i64) -> i64:\n{start}\n{body}\n{end}\n"

    def statements(self, depth: int, most: int) -> list[str]:
        lines: list[str] = []
        for _ in range(self.random.randint(1, most)):
            lines += self.statement(depth)
        return lines

    def statement(self, depth: int) -> list[str]:
        pad = "    " * depth
        choices = [self.assign, self.assign, self.store, self.augment, self.attempt]
        if depth < 4:
            choices += [self.branch, self.branch, self.counted, self.conditional]
        if self.loops and self.random.random() < 0.25:
            word = self.random.choice(["break", "continue", "return x - y"])
            return [f"{pad}if {self.test(1)}:", f"{pad}    {word}"]
        return [pad + line for line in self.random.choice(choices)(depth)]

    def nested(self, depth: int, most: int = 3) -> list[str]:
        """A block for `statement`, which indents it once more by itself."""
        return [line.removeprefix("    " * depth) for line in self.statements(depth + 1, most)]

    def assign(self, depth: int) -> list[str]:
        return [f"{self.random.choice(NAMES)} = {self.value(2)}"]

    def store(self, depth: int) -> list[str]:
        return [f"p[{self.value(1)} & 7] = {self.value(2)}"]

    def augment(self, depth: int) -> list[str]:
        target = self.random.choice([*NAMES, f"p[{self.value(1)} & 7]", "p[bump(p, y) & 7]"])
        return [f"{target} {self.random.choice('+-^|')}= {self.value(1)}"] + ([f"{target} &= {MASK}"] if target in NAMES else [])

    def attempt(self, depth: int) -> list[str]:
        return [
            f"if {self.random.choice(['', 'not '])}attempt(strict, p, {self.value(1)}):",
            f"    {self.random.choice(NAMES)} = {self.value(1)}",
        ]

    def branch(self, depth: int) -> list[str]:
        lines = [f"if {self.test(2)}:", *self.nested(depth)]
        if self.random.random() < 0.4:
            lines += [f"elif {self.test(1)}:", *self.nested(depth)]
        return lines + (["else:", *self.nested(depth)] if self.random.random() < 0.5 else [])

    def counted(self, depth: int) -> list[str]:
        step = self.random.choice([1, 1, 2, 3, -1, -2])
        start, stop = self.random.choice([("0", "y & 7"), ("x & 3", "9"), ("z & 15", "2"), ("-3", "both(4, z)")])
        self.loops += 1
        lines = [f"for n in range({start}, {stop}, {step}):", f"    x = (x + n) & {MASK}", *self.nested(depth)]
        if self.random.random() < 0.3:
            lines.append("    n = 50")  # what the body does to it changes nothing
        self.loops -= 1
        return lines

    def conditional(self, depth: int) -> list[str]:
        """A loop that ends by counting p[7] down, whatever its body does."""
        counter = f"w{depth}{self.random.randrange(1000)}"
        test = self.random.choice([f"{counter} > 0", f"{counter} > 0 and {self.test(1)}"])
        self.loops += 1
        lines = [f"{counter}: i64 = {self.random.randint(0, 6)}", f"while {test}:", f"    {counter} -= 1", *self.nested(depth)]
        self.loops -= 1
        return lines

    def value(self, depth: int) -> str:
        """An expression from 0 to MASK."""
        if depth == 0 or self.random.random() < 0.2:
            return self.random.choice([*NAMES, str(self.random.randrange(20)), f"p[{self.random.randrange(SIZE)}]"])
        left, right = self.value(depth - 1), self.value(depth - 1)
        return self.random.choice(
            [
                f"(({left} {self.random.choice('+-*^|&')} {right}) & {MASK})",
                f"({left} // ({right} + 1))",
                f"({left} % ({right} + 1))",
                f"({left} if {self.test(depth - 1)} else {right})",
                f"bump(p, {left})",
                f"(both({left}, {right}) & {MASK})",
                f"({left} >> ({right} & 7))",
            ]
        )

    def test(self, depth: int) -> str:
        left = f"({self.random.choice(NAMES)} ^ {self.value(max(depth - 1, 0))})"  # no literal alone: what type would it be?
        right = self.value(max(depth - 1, 0))
        compare = f"{left} {self.random.choice(['<', '<=', '==', '!=', '>', '>='])} {right}"
        if depth == 0:
            return compare
        return self.random.choice(
            [compare, f"not {compare}", f"({compare} and {self.test(depth - 1)})", f"({compare} or {self.test(depth - 1)})"]
        )
