"""The images as the daemon's API and its containers use them."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError, UsageError
from gasang.daemon.containers.names import now
from gasang.daemon.debian import DebianImages
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.records import Table
from gasang.daemon.views import ImageView
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import tidied
from gasang.images.content.settling import recover
from gasang.images.flat import pack_changes
from gasang.images.origin import Origin
from gasang.images.reference import Reference, parse_reference
from gasang.images.registry.credentials import Credentials, Keyring
from gasang.images.registry.ending import Ending
from gasang.images.registry.events import Event, Listener, Status
from gasang.images.registry.platform import Platform, host_platform, parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.push import push
from gasang.images.registry.settings import Registries
from gasang.images.registry.tags import tags_of

Say = Callable[[dict[str, Any]], Awaitable[None]]
SCRATCH: Final = "scratch"
HUB: Final = "docker.io"
UP_TO_DATE: Final = "Image is up to date for"
DOWNLOADED: Final = "Downloaded newer image for"
MADE: Final = "Made image"
EMPTY_CONFIG: Final[dict[str, Any]] = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}


def missing(name: str) -> NotFoundError:
    """The error whose words make the docker client pull."""
    return NotFoundError(f"No such image: {name}", "it is not here", "pull it first")


class DaemonImages:
    """The images of a daemon."""

    def __init__(self, folders: Folders, events: Events, cache: Table, registries: Registries, origin: Origin) -> None:
        self.registries = registries
        self.content = Content(folders.state / "images")
        self.containers = Containers(self.content)
        self._debian = DebianImages(self.content, origin)
        self._events = events
        self._cache = cache
        self._views: dict[str, ImageView] = {}
        self._lock = threading.Lock()

    # finding

    def find(self, name: str) -> ContainerImage:
        """The image of a name or id. Raises NotFoundError ("No such image"), UsageError."""
        try:
            return self.containers.find(name)
        except NotFoundError:
            shown = name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
            raise missing(shown) from None

    def view(self, reference: str, platform: str = "") -> ImageView:
        """What a container needs of an image. Raises NotFoundError, UsageError; NotFoundError too where it is of another platform."""
        if reference == SCRATCH:
            return self.scratch()
        with self._lock:
            known = self._views.get(reference) if reference.startswith("sha256:") and len(reference) == 71 else None
        if known is None:
            known = self._view(self.find(reference))
        if platform and not _is_of(known, parse_platform(platform)):
            raise NotFoundError(
                f"image with reference {reference} was found but does not provide the specified platform ({platform})", "pull that one", ""
            )
        return known

    def _view(self, image: ContainerImage) -> ImageView:
        config = image.config.get("config")
        view = ImageView(
            id=image.id,
            config=config if isinstance(config, dict) else {},
            layers=tuple(reversed(self.containers.layers_of(image))),
            platform=str(image.platform),
        )
        with self._lock:
            self._views[image.id] = view
        return view

    def scratch(self) -> ImageView:
        """The image that has nothing."""
        return ImageView("", dict(EMPTY_CONFIG), (), str(host_platform()))

    def size(self, image_id: str) -> int:
        """Bytes of content of an image."""
        return self.containers.size(self.find(image_id)) if image_id else 0

    def is_ancestor(self, reference: str, image_id: str) -> bool:
        """Whether an image is `reference` or begins with all its layers."""
        try:
            wanted, held = self.find(reference), self.find(image_id)
        except GasangError:
            return False
        return held.diff_ids[: len(wanted.diff_ids)] == wanted.diff_ids and bool(wanted.diff_ids)

    def recover(self) -> None:
        """Forget what a crash of the host left half-written."""
        self.content.prepare()
        recover(self.content)

    def count(self) -> int:
        """How many there are."""
        return len(self.containers.images())

    def disk_usage(self) -> int:
        """Bytes of all unpacked layers."""
        layers = {layer for image in self.containers.images() for layer in image.diff_ids}
        return sum(map(self.containers.layers.size, layers))

    # users

    def pin(self, user: str, image_id: str) -> None:
        """Keep an image while a container needs it."""
        if image_id:
            self.containers.pin(user, self.find(image_id))

    def unpin(self, user: str) -> None:
        """The container is gone."""
        self.containers.unpin(user)

    def forget_cache(self) -> None:
        """Forget what steps of builds have made."""
        for key in self._cache:
            self._cache.drop(key)

    # moving

    async def pull(self, name: str, platform: str, auth: Credentials | None, say: Say) -> None:
        """Pull an image and tell how it goes, in the API's words; cancelled, it ends. Raises GasangError."""
        reference = parse_reference(name).qualified()
        words = await self._pull_one(reference, platform, auth, say)
        await say({"status": f"Status: {words} {reference.familiar()}"})

    async def pull_all(self, name: str, platform: str, auth: Credentials | None, say: Say) -> None:
        """Pull every tag of a repository. Raises GasangError; what came before stays."""
        reference = parse_reference(name).qualified()
        keyring = _keyring(auth, reference.registry)
        found = {UP_TO_DATE}
        with Ending() as ending:
            registries = self.registries.until(ending)
            tags = await asyncio.to_thread(lambda: tags_of(reference, keyring=keyring, registries=registries))
        for tag in tags:
            found.add(await self._pull_one(reference.at(tag=tag), platform, auth, say))
        await say({"status": f"Status: {UP_TO_DATE if found == {UP_TO_DATE} else DOWNLOADED} {reference.familiar().repository}"})

    async def _pull_one(self, reference: Reference, platform: str, auth: Credentials | None, say: Say) -> str:
        """What became of it, in the API's words."""
        wanted = parse_platform(platform) if platform else None
        made = await asyncio.to_thread(self._debian.choose, reference, wanted)
        await say(
            {
                "status": f"Pulling from {reference.familiar().repository.removeprefix(f'{reference.registry}/')}",
                "id": reference.tag or reference.digest,
            }
        )
        before = self._id_of(str(reference))
        if made is not None:
            await say({"status": made.reason})
        image: ContainerImage = await _with_events(
            lambda listener, ending: (
                made.make(listener)
                if made is not None
                else pull(
                    reference,
                    self.content,
                    platform=wanted,
                    keyring=_keyring(auth, reference.registry),
                    registries=self.registries.until(ending),
                    listener=listener,
                )
            ),
            say,
        )
        digest = image.repository_digests[-1].partition("@")[2] if image.repository_digests else image.digest
        await say({"status": f"Digest: {digest}"})
        self._events.tell("image", "pull", str(reference.familiar()), {"name": reference.familiar().repository})
        return UP_TO_DATE if before == image.id else MADE if made else DOWNLOADED

    def _id_of(self, name: str) -> str:
        try:
            return self.containers.find(name).id
        except GasangError:
            return ""

    async def push(self, name: str, auth: Credentials | None, say: Say) -> None:
        """Push an image and tell how it goes; cancelled, it ends. Raises GasangError."""
        reference = parse_reference(name).qualified()
        self.find(str(reference))
        await say({"status": f"The push refers to repository [{reference.repository}]"})
        digest = await _with_events(
            lambda listener, ending: push(
                reference,
                self.content,
                keyring=_keyring(auth, reference.registry),
                registries=self.registries.until(ending),
                listener=listener,
            ),
            say,
        )
        image = self.find(str(reference))
        await say({"status": f"{reference.tag}: digest: {digest} size: {image.manifest.size}"})
        await say({"progressDetail": {}, "aux": {"Tag": reference.tag, "Digest": digest, "Size": image.manifest.size}})
        self._events.tell("image", "push", str(reference.familiar()), {"name": reference.familiar().repository})

    # making

    def commit(
        self, parent: ImageView, config: dict[str, Any], history: dict[str, Any], layer: Path | None, author: str = "", comment: str = ""
    ) -> ImageView:
        """An image of `parent` with one more step, and a layer made of an overlay's upper folder if there is one. It has no name yet."""
        with tidied(self.content), self.content.leases.take() as lease:
            base = self.find(parent.id) if parent.id else None
            layers, diff_ids = (list(base.layers), list(base.diff_ids)) if base else ([], [])
            if layer is not None:
                made = pack_changes(self.content, lease.hold, layer)
                layers.append(made.blob)
                diff_ids.append(made.diff_id)
            platform = base.platform if base else host_platform()
            document: dict[str, Any] = {
                **platform.document(),
                "created": now(),
                "config": {
                    key: value for key, value in config.items() if value not in (None, "", False) and key not in ("Author", "Image")
                },
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [*(copy.deepcopy(base.history) if base else []), {**history, **({"comment": comment} if comment else {})}],
            }
            if author or config.get("Author"):
                document["author"] = author or config["Author"]
            manifest = self.containers.add(document, layers, lease.hold)
            image = self.containers.tag(manifest, None)
        return self._view(image)

    def cached(self, key: str) -> ImageView | None:
        """What a step of a build made before, if it is still here."""
        found = self._cache.get(key)
        if found is None:
            return None
        try:
            return self.view(found["image"])
        except (NotFoundError, BadInputError):
            self._cache.drop(key)
            return None

    def remember(self, key: str, parent: ImageView, image: ImageView) -> None:
        """A step of a build made `image` of `parent`, which is not shown any more unless it has a name."""
        self._cache.put(key, {"image": image.id, "parent": parent.id})

    def steps(self) -> set[str]:
        """The ids of images that are steps on the way to others."""
        return {record["parent"] for key in self._cache if (record := self._cache.get(key))}

    # changing

    def tag(self, name: str, target: str) -> None:
        """Give an image one more name. Raises NotFoundError, UsageError."""
        reference = parse_reference(target)
        if reference.digest:
            raise UsageError(f"tag {target[:80]!r}", "a name with a digest cannot be given", "leave the digest out")
        self.containers.tag(self.find(name).manifest, reference)
        self._events.tell("image", "tag", self.find(name).id, {"name": str(reference)})

    def remove(self, name: str, *, force: bool, running: list[str], stopped: list[str]) -> list[dict[str, str]]:
        """Take a name or the image; what was done, in the API's words. `running` and `stopped` are its containers. Raises StateError."""
        image = self.find(name)
        by_id = image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
        if by_id or len(image.references) <= 1:
            _check_removal(image, name, by_id=by_id, force=force, running=running, stopped=stopped)
        taken, deleted = self.containers.remove(name, force=force)
        with self._lock:
            for key in deleted:
                self._views.pop(key, None)
        result = [{"Untagged": str(parse_reference(entry).familiar())} for entry in taken]
        result += [{"Untagged": str(parse_reference(entry).familiar())} for entry in image.repository_digests if deleted]
        result += [{"Deleted": key} for key in deleted]
        if deleted:
            shared = {layer for other in self.containers.images() for layer in other.diff_ids}
            result += [{"Deleted": layer} for layer in reversed(image.diff_ids) if layer not in shared]
        for entry in result:
            action, key = next(iter(entry.items()))
            self._events.tell("image", "untag" if action == "Untagged" else "delete", image.id, {"name": key})
        return result

    def prune(self, *, everything: bool) -> tuple[list[ContainerImage], int]:
        """Remove what nobody needs; (which, bytes freed)."""
        gone, freed = self.containers.prune(everything=everything)
        with self._lock:
            self._views.clear()
        return gone, freed


def _check_removal(image: ContainerImage, name: str, *, by_id: bool, force: bool, running: list[str], stopped: list[str]) -> None:
    """Raise StateError, in Docker's words, where containers or other names keep an image from going."""
    short = image.id.removeprefix("sha256:")[:12]
    users = [*running, *stopped]
    if not by_id:
        if users and not force:
            subject = f'conflict: unable to remove repository reference "{name}" (must force)'
            raise StateError(subject, f"container {users[0][:12]} is using its referenced image {short}", "remove it first, or force it")
        return
    if running:
        cause = f"image is being used by running container {running[0][:12]}"
        raise StateError(f"conflict: unable to delete {short} (cannot be forced)", cause, "stop it first")
    if force:
        return
    if len(image.references) > 1:
        cause = "image is referenced in multiple repositories"
        raise StateError(f"conflict: unable to delete {short} (must be forced)", cause, "name one of them, or force it")
    if stopped:
        cause = f"image is being used by stopped container {stopped[0][:12]}"
        raise StateError(f"conflict: unable to delete {short} (must be forced)", cause, "remove it first, or force it")


def _is_of(view: ImageView, wanted: Platform) -> bool:
    held = parse_platform(view.platform)
    return (held.os, held.architecture) == (wanted.os, wanted.architecture) and wanted.variant in ("", held.variant)


def _keyring(auth: Credentials | None, registry: str) -> Keyring:
    return Keyring.only(registry, auth) if auth else Keyring.of_user(os.environ)


async def _with_events(work: Callable[[Listener, Ending], Any], say: Say) -> Any:
    """Do blocking work in a thread and pass on what it tells; of what comes faster than it leaves, the last of each layer's status.

    Where this is cancelled, or nobody can be told any more, the work is ended by what it waits for, or the next that it tells.
    """
    loop = asyncio.get_running_loop()
    pending: dict[tuple[str, str, bool], Event] = {}
    news = asyncio.Event()

    def note(event: Event) -> None:
        pending[event.layer, event.status, event.total > 0] = event
        news.set()

    with Ending() as ending:

        def tell(event: Event) -> None:
            ending.check()
            loop.call_soon_threadsafe(note, event)

        running = loop.run_in_executor(None, work, tell, ending)
        running.add_done_callback(lambda _: news.set())
        try:
            while not running.done() or pending:
                await news.wait()
                news.clear()
                batch = list(pending.values())
                pending.clear()
                for event in batch:
                    await say(line_of(event))
            return await running
        finally:
            running.cancel()  # what becomes of it then is nobody's concern


def line_of(event: Event) -> dict[str, Any]:
    """An event of a transfer as the API writes it."""
    detail: dict[str, Any] = {}
    line: dict[str, Any] = {"status": str(event.status), "progressDetail": detail}
    if event.status in (Status.DOWNLOADING, Status.EXTRACTING, Status.PUSHING) and event.total:
        detail.update(current=event.current, total=event.total)
        line["progress"] = bar(event.current, event.total)
    elif event.unit and event.total:
        detail.update(current=event.current, total=event.total, **({} if event.unit == "bytes" else {"units": event.unit}))
    if event.layer:
        line["id"] = event.layer
    return line


def bar(current: int, total: int) -> str:
    """A bar of fifty places, as clients print it."""
    filled = min(50, current * 50 // total) if total else 0
    arrow = "=" * filled + (">" if filled < 50 else "")
    return f"[{arrow:<50}]  {_size(current)}/{_size(total)}"


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.4g}{unit}"
