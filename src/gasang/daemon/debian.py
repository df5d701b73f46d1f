"""Images of Debian's suites: of their registry, as any other, or made here from a mirror's packages, as the setting `debian` says."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gasang.core.errors import GasangError
from gasang.core.paths import cache_folder
from gasang.core.progress import Silent, Step
from gasang.host.memory import trim_heap
from gasang.images.configuring import host_architecture
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.origin import MIRROR, REGISTRY, Origin
from gasang.images.reference import DOCKER_HUB, OFFICIAL, Reference
from gasang.images.registry.events import Event, Listener
from gasang.images.registry.platform import Platform
from gasang.images.registry.presence import absence

if TYPE_CHECKING:  # a daemon seldom makes an image, and what that takes would stay in its memory
    from gasang.images.suite import Suite

LATEST: Final = "latest"
STABLE: Final = "stable"
_SUITE: Final = re.compile(r"[a-z]{2,32}")
"""Names of suites as they are tags; others ("13", "trixie-slim") a registry alone has."""
_OFTEN: Final = 0.1
"""Seconds between two events of a step."""


def suite_of(reference: Reference) -> str:
    """The suite that a qualified reference means; "" where it means another image."""
    if (reference.registry, reference.name) != (DOCKER_HUB, f"{OFFICIAL}debian") or reference.digest:
        return ""
    return reference.tag if _SUITE.fullmatch(reference.tag) else ""


class DebianImages:
    """Decides where an image comes from."""

    def __init__(self, content: Content, origin: Origin) -> None:
        self._content = content
        self._origin = origin

    def choose(self, reference: Reference, platform: Platform | None) -> Making | None:
        """How to make an image here; None where its registry is to be asked. Looks whether that can be reached, and asks the mirror.

        Raises what `fetch_suite` raises, and PermissionDeniedError where this user cannot make it.
        """
        architecture = host_architecture()
        name, origin = suite_of(reference), self._origin
        foreign = platform is not None and (platform.os, platform.architecture) != ("linux", architecture)
        if not name or not architecture or foreign or origin.debian == REGISTRY:
            return None
        if origin.debian == MIRROR:
            return self._making(reference, name, architecture, f"Making {reference.familiar()} from packages of {origin.mirror}")
        if self._is_registrys(reference) or not (reason := absence(reference.registry)):
            return None
        told = f"{reference.registry} cannot be reached ({reason})"
        try:
            return self._making(
                reference, name, architecture, f"{told}: making {reference.familiar()} from packages of {origin.mirror} instead"
            )
        except GasangError as error:
            raise type(error)(error.subject, f"{error.cause}, and {told}", error.hint) from error

    def _is_registrys(self, reference: Reference) -> bool:
        """Whether the image is here and was pulled: one made here must not take its place unasked."""
        try:
            return bool(Containers(self._content).find(str(reference)).repository_digests)
        except GasangError:
            return False

    def _making(self, reference: Reference, name: str, architecture: str, reason: str) -> Making:
        from gasang.images.suite import fetch_suite
        from gasang.kinds.container.configuring import ContainerConfigurer

        ContainerConfigurer().check(f"image {reference.familiar()}")
        suite = fetch_suite(STABLE if name == LATEST else name, architecture, cache_folder(os.environ), Silent(), self._origin)
        if name == LATEST:
            suite = replace(suite, name=suite.release.codename)
        return Making(reference, suite, self._content, reason)


@dataclass(frozen=True)
class Making:
    """An image to be made; `reason` says why here."""

    reference: Reference
    suite: Suite
    content: Content
    reason: str

    def make(self, listener: Listener) -> ContainerImage:
        """Make it. Raises what `make_image` raises."""
        from gasang.images.minimal import make_image
        from gasang.kinds.container.configuring import ContainerConfigurer

        told = AsEvents(self.reference.tag, listener)
        try:
            return make_image(self.suite, self.reference, self.content, cache_folder(os.environ), told, ContainerConfigurer())
        finally:
            trim_heap()


class AsEvents:
    """Progress that tells a listener: each step's title is a status of the layer `name`."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name = name
        self._listener = listener

    @contextmanager
    def step(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        """A step: told when it begins, goes on, and ends well."""
        status = title[:1].upper() + title[1:]
        self._listener(Event(self._name, status))
        counting = _Counting(Event(self._name, status, 0, total or 0, unit), self._listener)
        yield counting
        if total:
            self._listener(Event(self._name, status, total, total, unit))


class _Counting:
    def __init__(self, begun: Event, listener: Listener) -> None:
        self._last = begun
        self._listener = listener
        self._lock = threading.Lock()
        self._told = time.monotonic()

    def advance(self, amount: int, detail: str = "") -> None:
        """More is done. Any thread may say so."""
        with self._lock:
            self._last = replace(self._last, current=min(self._last.current + amount, self._last.total))
            if self._last.total and time.monotonic() - self._told >= _OFTEN:
                self._told = time.monotonic()
                self._listener(self._last)
