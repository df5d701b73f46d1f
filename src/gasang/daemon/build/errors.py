"""A build that failed at one of its steps."""

from __future__ import annotations

from gasang.core.errors import GasangError


class BuildError(GasangError):
    """A step failed; `code` is the exit code of a RUN. Clients show the sentence alone."""

    http_status = 400

    def __init__(self, sentence: str, code: int = 0) -> None:
        super().__init__("build", sentence)
        self.sentence = sentence
        self.code = code
