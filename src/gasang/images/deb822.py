"""Control files in the format of deb822(5): paragraphs of "Field: value" lines, continued by lines that begin with white space."""

from __future__ import annotations

from collections.abc import Iterator

from gasang.core.errors import BadInputError

Paragraph = dict[str, str]
"""Fields by name in lower case; a continued value keeps its line breaks, without the leading space."""


def paragraphs(text: str, subject: str) -> Iterator[Paragraph]:
    """The paragraphs of `text`; raise BadInputError for a line that is none."""
    for block in text.split("\n\n"):
        fields = _fields(block, subject)
        if fields:
            yield fields


def paragraph(text: str, subject: str) -> Paragraph:
    """The first paragraph; raise BadInputError where there is none."""
    first = next(paragraphs(text, subject), None)
    if first is None:
        raise BadInputError(subject, "it is empty", "delete it and pull again")
    return first


def _fields(block: str, subject: str) -> Paragraph:
    fields: Paragraph = {}
    name = ""
    for line in block.split("\n"):
        if line[:1] in (" ", "\t"):
            if not name:
                raise _damaged(subject, line)
            fields[name] += "\n" + line[1:]
        elif line.strip() and not line.startswith("#"):
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name in fields:
                raise _damaged(subject, line)
            fields[name] = value.strip()
    return fields


def _damaged(subject: str, line: str) -> BadInputError:
    return BadInputError(subject, f"its line {line[:60]!r} is no field", "delete it and pull again")
