"""What a container image says of the process that it is for, kept with the machine's image that is made of it."""

from __future__ import annotations

from typing import Any, Final, cast

from gasang.core.errors import BadInputError
from gasang.images.initramfs import ImageProcess

PROCESS: Final = "process"
"""Its name in the configuration of a machine's image, and in a machine's notes."""
_WORDS: Final = {"entrypoint": "Entrypoint", "command": "Cmd", "environment": "Env"}
_TEXTS: Final = {"user": "User", "directory": "WorkingDir", "stop_signal": "StopSignal"}
_LATER: Final[dict[str, object]] = {"ports": [], "stop_signal": "", "health": None}
"""What documents of an earlier gasang lack."""


def process_of(config: dict[str, Any], subject: str) -> dict[str, Any]:
    """The process of a container image's configuration, as a document. Raises BadInputError."""
    said = config.get("config")
    found: dict[str, Any] = said if isinstance(said, dict) else {}
    document = {ours: found.get(theirs) or [] for ours, theirs in _WORDS.items()}
    document |= {ours: found.get(theirs) or "" for ours, theirs in _TEXTS.items()}
    document |= {"ports": list(found.get("ExposedPorts") or []), "health": found.get("Healthcheck")}
    read_process(document, subject)
    return document


def read_process(document: object, subject: str) -> ImageProcess | None:
    """The process of such a document, None where there is none. Raises BadInputError."""
    if document is None:
        return None
    found: dict[str, Any] = {**_LATER, **document} if isinstance(document, dict) else {}
    words, texts = [found.get(name) for name in (*_WORDS, "ports")], [found.get(name) for name in _TEXTS]
    are_texts = all(isinstance(value, list) and all(map(_is_text, value)) for value in words) and all(map(_is_text, texts))
    health = found.get("health")
    if not are_texts or not isinstance(health, dict | None):
        raise BadInputError(subject, "what it says of its process can be no process's", "remove it and pull it again")
    entrypoint, command, environment, ports = (tuple(cast("list[str]", value)) for value in words)
    variables = tuple(word for word in environment if word.find("=") > 0)
    user, directory, stop_signal = cast("list[str]", texts)
    return ImageProcess(entrypoint, command, variables, user, directory, ports, stop_signal, health)


def document_of(process: ImageProcess | None) -> dict[str, Any] | None:
    """The document that `read_process` reads."""
    return None if process is None else {name: _plain(getattr(process, name)) for name in (*_WORDS, *_TEXTS, "ports", "health")}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
