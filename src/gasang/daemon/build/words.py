"""Words of a Dockerfile: quotes, escapes and variables (Dockerfile reference, "Environment replacement"). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from gasang.core.errors import UsageError

NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
DEPTH_MAX = 16


class _Reader:
    """Reads one text, character by character."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, depth: int = 0) -> None:
        if depth > DEPTH_MAX:
            raise UsageError("Dockerfile", "variables are nested too deeply", "simplify them")
        self.text = text
        self.at = 0
        self.variables = variables
        self.escape = escape
        self.depth = depth

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        found = self.peek()
        self.at += 1
        return found

    def words(self) -> list[str]:
        """The words, split at blanks outside quotes, everything replaced."""
        result: list[str] = []
        word: str | None = None
        while char := self.peek():
            if char.isspace():
                self.next()
                if word is not None:
                    result.append(word)
                word = None
                continue
            word = (word or "") + self._piece()
        if word is not None:
            result.append(word)
        return result

    def whole(self) -> str:
        """The text as one word, blanks kept."""
        parts = []
        while self.peek():
            parts.append(self._piece())
        return "".join(parts)

    def _piece(self) -> str:
        char = self.next()
        if char == "'":
            return self._until_quote()
        if char == '"':
            return self._in_double_quotes()
        if char == "$":
            return self._variable()
        if char == self.escape:
            return self.next()
        return char

    def _until_quote(self) -> str:
        end = self.text.find("'", self.at)
        if end < 0:
            raise UsageError(f"Dockerfile word {self.text[:60]!r}", "a single quote is not closed", "close it")
        found = self.text[self.at : end]
        self.at = end + 1
        return found

    def _in_double_quotes(self) -> str:
        parts: list[str] = []
        while True:
            char = self.next()
            if not char:
                raise UsageError(f"Dockerfile word {self.text[:60]!r}", "a double quote is not closed", "close it")
            if char == '"':
                return "".join(parts)
            if char == "$":
                parts.append(self._variable())
            elif char == self.escape:
                following = self.next()
                parts.append(following if following in ('"', "$", self.escape) else char + following)
            else:
                parts.append(char)

    def _variable(self) -> str:
        if self.peek() == "{":
            self.next()
            return self._braced()
        name = ""
        while self.peek() and self.peek() in NAME:
            name += self.next()
        if not name:
            return "$"
        return self.variables.get(name, "")

    def _braced(self) -> str:
        name = ""
        while self.peek() and self.peek() in NAME:
            name += self.next()
        if not name:
            raise UsageError(f"Dockerfile word {self.text[:60]!r}", "a variable has no name", "write ${NAME}")
        value = self.variables.get(name)
        char = self.next()
        if char == "}":
            return value or ""
        if char == ":":
            operator, unset = self.next(), not value
        else:
            operator, unset = char, value is None
        word = self._until_brace()
        if operator == "-":
            return self._inner(word) if unset else value or ""
        if operator == "+":
            return "" if unset else self._inner(word)
        if operator == "?":
            if unset:
                raise UsageError(f"Dockerfile variable {name}", self._inner(word) or "it is not set", "set it with ARG or ENV")
            return value or ""
        raise UsageError(f"Dockerfile word {self.text[:60]!r}", f"modifier {operator!r} is not supported", "use :-, :+ or :?")

    def _until_brace(self) -> str:
        depth, start = 1, self.at
        while depth:
            char = self.next()
            if not char:
                raise UsageError(f"Dockerfile word {self.text[:60]!r}", "a brace is not closed", "close it")
            if char == "$" and self.peek() == "{":
                depth += 1
            elif char == "}":
                depth -= 1
        return self.text[start : self.at - 1]

    def _inner(self, text: str) -> str:
        return _Reader(text, self.variables, self.escape, self.depth + 1).whole()


def expanded(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """`text` as one word: variables replaced, quotes and escapes taken away. Raises UsageError."""
    return _Reader(text, variables, escape).whole()


def split(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of `text`, everything replaced. Raises UsageError."""
    return _Reader(text, variables, escape).words()


def raw_words(text: str, escape: str = "\\") -> list[str]:
    """The words of `text` with quotes, escapes and variables left as they are."""
    result: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if word:
                result.append(word)
            word = ""
            at += 1
            continue
        word += char
        at += 1
    if quote:
        raise UsageError(f"Dockerfile words {text[:60]!r}", "a quote is not closed", "close it")
    return [*result, word] if word else result
