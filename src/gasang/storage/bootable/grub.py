"""GRUB's grub.cfg, as far as it tells what is booted (GNU GRUB manual, "Shell-like scripting", "Commands").

Its language is a shell's. What is understood: variables, `set`, `if` with tests of texts, `menuentry`, `submenu`, `search` by UUID,
`linux`, `initrd`, `load_env` and `blscfg`. All else is passed by; a test of files is taken to hold, any other than of texts to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gasang.storage.bootable.entry import ENTRIES_MOST, Entry, Menu

_LINUX: Final = frozenset({"linux", "linux16", "linuxefi"})
_INITRD: Final = frozenset({"initrd", "initrd16", "initrdefi"})
_ENDS: Final = frozenset({";", "\n", "{", "}"})
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+)|([?*#@]))")
_TOKEN: Final = re.compile(
    r"""[ \t\r]+|\\\n|(?P<comment>\#[^\n]*)|(?P<end>[;\n]|[{}](?=[\s;]|$))|(?P<word>(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s;'"\\])+)""",
    re.DOTALL,
)
_PIECE: Final = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_UUID: Final = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f-]{7,35}")
_VALUE_MOST: Final = 8192
_DEPTH_MOST: Final = 64
_TOKENS_MOST: Final = 200_000


@dataclass(slots=True)
class _Item:
    """An entry of the menu, or a menu in it."""

    title: str
    identity: str
    entry: Entry | None = None
    items: list[_Item] = field(default_factory=list)


def menu(text: str, environment: dict[str, str]) -> Menu:
    """The menu of a grub.cfg; `environment` is what its grubenv holds. Whatever the text is, it comes to something."""
    reader = _Reader(text, environment)
    reader.read()
    wanted = reader.variables.get("default", "") or "0"
    chosen = _chosen(reader.top.items, wanted)
    entries = [*([reader.top.entry] if reader.top.entry else []), *_all(reader.top.items)]
    if chosen is not None:
        entries = [chosen, *(each for each in entries if each is not chosen)]
    return Menu(tuple(entries), reader.has_more, tuple(reader.variables.items()), "" if chosen else wanted)


def environment_block(data: bytes) -> dict[str, str]:
    """The variables of a grubenv (manual, "The GRUB environment block")."""
    lines = data.decode("utf-8", "replace").splitlines()
    return {name: value for name, sign, value in (line.partition("=") for line in lines) if sign and not name.startswith("#")}


class _Conditions:
    """The `if`s that a command stands in."""

    def __init__(self, runs: bool) -> None:
        self._runs = runs
        self._open: list[tuple[bool, bool]] = []  # whether this part runs, and whether one of it has run already

    @property
    def alive(self) -> bool:
        """Whether commands here are executed."""
        return self._runs and all(part for part, _ in self._open)

    def take(self, words: list[str], holds: Callable[[list[str]], bool]) -> list[str]:
        """What is left of a command that belongs to an `if`; loops never run."""
        while words and words[0] in ("then", "do", "else"):
            if words[0] == "else" and self._open:
                self._open[-1] = (not self._open[-1][1], True)
            words = words[1:]
        verb = words[0] if words else ""
        if verb in ("if", "while", "for", "until") and len(self._open) < _DEPTH_MOST:
            found = verb == "if" and self.alive and holds(words[1:])
            self._open.append((found, found))
        elif verb == "elif" and self._open:
            _, done = self._open.pop()
            found = not done and self.alive and holds(words[1:])
            self._open.append((found, done or found))
        elif verb in ("fi", "done") and self._open:
            self._open.pop()
        else:
            return words
        return []


class _Reader:
    def __init__(self, text: str, environment: dict[str, str]) -> None:
        self.variables: dict[str, str] = {"prefix": "/boot/grub"}
        self.top = _Item("", "")
        self.has_more = False
        self._environment = environment
        self._tokens = _tokens(text)
        self._found = 0

    def read(self) -> None:
        """To the end."""
        self._block(self.top, "", runs=True, depth=0)

    def _commands(self) -> Iterator[tuple[list[str], str]]:
        """Words, and what ends them."""
        words: list[str] = []
        for token in self._tokens:
            if token in _ENDS and not token.startswith(("'", '"')):
                yield words, token
                words = []
            else:
                words.append(token)
        yield words, ""

    def _block(self, item: _Item, uuid: str, *, runs: bool, depth: int) -> None:
        """Up to the } that ends it. `uuid` is the file system that is the root of what follows."""
        conditions = _Conditions(runs)
        kernel: list[str] = []
        initrds: list[str] = []
        for raw, end in self._commands():
            words = conditions.take(raw, self._holds)
            verb = words[0] if words else ""
            if end == "{":
                if depth >= _DEPTH_MOST:
                    return
                self._inner(item, words, uuid, alive=conditions.alive, depth=depth)
            elif conditions.alive and verb in _LINUX:
                kernel = self._expanded(words[1:])
            elif conditions.alive and verb in _INITRD:
                initrds += self._expanded(words[1:])
            elif conditions.alive and verb.startswith("search"):
                uuid = self._searched(words) or uuid
            elif conditions.alive and verb:
                self._run(words)
            if end == "}":
                break
        if kernel:
            item.entry = Entry(item.title, _path(kernel[0]), tuple(map(_path, initrds)), " ".join(kernel[1:])[:_VALUE_MOST], uuid)

    def _inner(self, item: _Item, words: list[str], uuid: str, *, alive: bool, depth: int) -> None:
        """What stands between braces: an entry, a menu, or what never runs."""
        opens = words[:1] in (["menuentry"], ["submenu"]) and alive and self._found < ENTRIES_MOST
        below = _Item(*self._titles(words[1:])) if opens else _Item("", "")
        kept = self.variables
        self.variables = dict(kept)
        if opens:
            self._found += 1
            item.items.append(below)
        self._block(below, uuid, runs=opens, depth=depth + 1)
        self.variables = kept

    def _run(self, words: list[str]) -> None:
        if words[0] == "set" and len(words) > 1:
            name, sign, value = words[1].partition("=")
            if sign:
                self.variables[name] = " ".join(self._expanded([value]))[:_VALUE_MOST]
        elif words[0] == "load_env":
            self.variables.update(self._environment)
        elif words[0] == "blscfg":
            self.has_more = True

    def _searched(self, words: list[str]) -> str:
        """The UUID that a search goes for, "" for one that goes for something else."""
        given = self._expanded(words[1:])
        if words[0] != "search.fs_uuid" and "--fs-uuid" not in given and "-u" not in given:
            return ""
        return next((word.lower() for word in given if _UUID.fullmatch(word)), "")

    def _titles(self, words: list[str]) -> tuple[str, str]:
        """An entry's title, and what it is known by besides."""
        given = self._expanded(words)
        identity = next((given[index + 1] for index, word in enumerate(given[:-1]) if word in ("--id", "$menuentry_id_option")), "")
        return (given[0] if given else ""), identity

    def _holds(self, words: list[str]) -> bool:
        match [self._one(word) for word in words]:
            case ["!", *rest]:
                return not self._holds(rest)
            case ["[", *rest, "]"]:
                return self._test(rest)
            case ["test", *rest]:
                return self._test(rest)
        return False

    def _test(self, words: list[str]) -> bool:
        match words:
            case ["!", *rest]:
                return not self._test(rest)
            case [left, "=" | "==", right]:
                return left == right
            case [left, "!=", right]:
                return left != right
            case ["-n", text]:
                return bool(text)
            case ["-z", text]:
                return not text
            case ["-s" | "-f" | "-e" | "-d", _]:
                return True
            case [text]:
                return bool(text)
        return False

    def _expanded(self, words: list[str]) -> list[str]:
        """Words with variables replaced; what is not quoted comes apart at blanks."""
        found: list[str] = []
        for word in words[:ENTRIES_MOST]:
            if word == "$menuentry_id_option":
                found.append("--id")
                continue
            value = self._one(word)
            found += [value] if word[:1] in ("'", '"') or not word.startswith("$") else value.split()
        return found

    def _one(self, word: str) -> str:
        parts = []
        for single, double, escaped, plain in _PIECE.findall(word):
            text = double or plain
            parts.append(single or escaped or (self._with_variables(text) if text else ""))
        return "".join(parts)[:_VALUE_MOST]

    def _with_variables(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2] or ""
            return self.variables.get(name, "y" if name.startswith("feature_") else "")

        return re.sub(r"\\(.)", r"\1", _VARIABLE.sub(value, text))


def _tokens(text: str) -> Iterator[str]:
    position = 0
    for _ in range(_TOKENS_MOST):
        if position >= len(text):
            return
        match = _TOKEN.match(text, position)
        if match is None:
            position += 1
            continue
        position = match.end()
        if match["end"] or match["word"]:
            yield match["end"] or match["word"]


def _path(word: str) -> str:
    """A path without the device in parentheses before it."""
    return word.partition(")")[2] if word.startswith("(") else word


def _all(items: list[_Item]) -> Iterator[Entry]:
    for item in items:
        if item.entry is not None:
            yield item.entry
        yield from _all(item.items)


def _chosen(items: list[_Item], wanted: str) -> Entry | None:
    """The entry that a default names: numbers, titles or identities, with > between those of menus."""
    first, _, rest = wanted.partition(">")
    found = next((item for item in items if first in (item.title, item.identity) and first), None)
    if found is None and first.isdecimal() and len(first) < 6 and int(first) < len(items):
        found = items[int(first)]
    if found is None:
        return next((each for item in items if (each := _chosen(item.items, wanted)) is not None), None) if not first.isdecimal() else None
    if found.entry is not None and not rest:
        return found.entry
    return _chosen(found.items, rest or "0")
