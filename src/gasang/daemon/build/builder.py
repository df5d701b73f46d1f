"""Carries out a Dockerfile: stages, cache, RUN in containers, files into layers. The classic builder's words and order."""

from __future__ import annotations

import asyncio
import codecs
import copy
import hashlib
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gasang.core.errors import GasangError, NotFoundError, UsageError
from gasang.daemon.build.config import METADATA, PREDEFINED_ARGS, Stage, arguments
from gasang.daemon.build.dockerfile import Dockerfile, Instruction, instruction
from gasang.daemon.build.errors import BuildError
from gasang.daemon.build.files import Copy, Sources
from gasang.daemon.build.words import expanded, split
from gasang.daemon.containers.names import now
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.streams import Ends
from gasang.daemon.engine import Engine
from gasang.daemon.views import ImageView
from gasang.images.reference import parse_reference
from gasang.images.registry.credentials import Credentials

Say = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Options:
    """What the client asks of a build."""

    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    remove: bool = True
    network: str = ""
    platform: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)
    """Limits of the containers that RUN makes, as HostConfig has them."""
    auth: Mapping[str, Credentials] = field(default_factory=dict)
    """Who the client is to registries, by their names."""


def registry_of(name: str) -> str:
    """The registry of an image's name."""
    return parse_reference(name).qualified().registry


class Builder:
    """One build."""

    def __init__(self, engine: Engine, context: Path, options: Options, say: Say) -> None:
        self._engine = engine
        self._context = context
        self._options = options
        self._say = say
        self._given = {name: value for name, value in options.build_args.items() if value is not None}
        self._built: dict[str, ImageView] = {}
        self._global_args: dict[str, str] = {}
        self._used_args: set[str] = set()

    async def build(self, file: Dockerfile) -> ImageView:
        """The image of the last stage, or of the one that is asked for. Raises UsageError, BuildError, GasangError."""
        steps = self._reachable(file)
        image: ImageView | None = None
        stage = Stage({}, escape=file.escape)
        for number, step in enumerate(steps, 1):
            if not self._options.quiet:
                await self._line(f"Step {number}/{len(steps)} : {step.source}")
            if step.name == "FROM":
                if image is not None:
                    self._keep(image)
                image, stage = await self._from(step, file.escape)
            elif image is None:
                stage.args.update(arguments(step, stage, {**self._given}, {}))
                self._global_args.update(stage.args)
                self._used_args.update(stage.args)
            else:
                image = await self._step(image, stage, step)
            if image is not None and not self._options.quiet:
                await self._line(f" ---> {image.id.removeprefix('sha256:')[:12]}")
        assert image is not None
        if self._options.labels:
            stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **self._options.labels}
            image = self._commit(image, stage, f"LABEL {' '.join(self._options.labels)}", None)
        unused = set(self._given) - self._used_args - PREDEFINED_ARGS
        if unused:
            await self._line(f"[Warning] One or more build-args [{' '.join(sorted(unused))}] were not consumed")
        return image

    # stages

    def _reachable(self, file: Dockerfile) -> list[Instruction]:
        """The instructions up to the end of the stage that is asked for. Raises UsageError."""
        steps = list(file.instructions)
        first = next((step for step in steps if step.name != "ARG"), None)
        if first is None or first.name != "FROM":
            raise UsageError("Dockerfile", "no build stage in current context", "begin it with FROM, only ARG may stand before it")
        if not self._options.target:
            return steps
        starts = [index for index, step in enumerate(steps) if step.name == "FROM"]
        for order, start in enumerate(starts):
            words = steps[start].text.split()
            names = {str(order), *(word.lower() for word in words[2:3])}
            if self._options.target.lower() in names:
                return steps[: starts[order + 1] if order + 1 < len(starts) else None]
        raise UsageError(f"target {self._options.target[:60]}", "failed to reach build target in Dockerfile", "name one of its stages")

    def _keep(self, image: ImageView) -> None:
        self._built[str(self._order)] = image
        if self._name:
            self._built[self._name] = image

    async def _from(self, step: Instruction, escape: str) -> tuple[ImageView, Stage]:
        words = split(step.text, self._global_args, escape)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
            raise step.wrong("it requires either one or three arguments", "write FROM IMAGE [AS NAME]")
        self._order = self._order + 1 if hasattr(self, "_order") else 0
        self._name = words[2].lower() if len(words) == 3 else ""
        image = self._built.get(words[0].lower()) or await self._base(words[0], expanded(step.flags.get("platform", ""), self._global_args))
        stage = Stage(copy.deepcopy(image.config), escape=escape)
        triggers = stage.config.pop("OnBuild", None) or []
        if triggers:
            await self._line(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}")
        for trigger in triggers:
            image = await self._step(image, stage, instruction(trigger, step.line))
        return image, stage

    _order: int
    _name: str

    async def _base(self, name: str, platform: str) -> ImageView:
        """An image by its name, pulled where it is not here; "scratch" is the empty one."""
        if name == "scratch":
            return self._engine.images.scratch()
        wanted = platform or self._options.platform
        if not self._options.pull:
            try:
                return self._engine.images.view(name, wanted)
            except NotFoundError:
                pass
        await self._engine.images.pull(name, wanted, self._options.auth.get(registry_of(name)), self._say)
        return self._engine.images.view(name, wanted)

    # steps

    async def _step(self, image: ImageView, stage: Stage, step: Instruction) -> ImageView:
        if step.name == "ARG":
            declared = arguments(step, stage, self._given, self._global_args)
            stage.args.update(declared)
            self._used_args.update(declared)
            return image
        if step.name == "RUN":
            return await self._run(image, stage, step)
        if step.name in ("COPY", "ADD"):
            return await self._files(image, stage, step)
        METADATA[step.name](stage, step)
        note = f"{' '.join(stage.shell)} #(nop)  {step.source}"
        if step.name == "WORKDIR":
            return await self._workdir(image, stage, note)
        if found := self._cached(image, stage, note):
            await self._line(" ---> Using cache")
            return found
        return self._commit(image, stage, note, None)

    def _key(self, image: ImageView, stage: Stage, note: str, content: str = "") -> str:
        parts = json.dumps([image.id, stage.config, note, content], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    def _cached(self, image: ImageView, stage: Stage, note: str, content: str = "") -> ImageView | None:
        """What the same step made of the same image before."""
        return None if self._options.no_cache else self._engine.images.cached(self._key(image, stage, note, content))

    def _commit(self, image: ImageView, stage: Stage, note: str, layer: Path | None, content: str = "") -> ImageView:
        history = {"created": now(), "created_by": note, **({} if layer else {"empty_layer": True})}
        made = self._engine.images.commit(image, stage.config, history, layer)
        self._engine.images.remember(self._key(image, stage, note, content), image, made)
        return made

    async def _run(self, image: ImageView, stage: Stage, step: Instruction) -> ImageView:
        for heredoc in step.heredocs:
            step = Instruction(step.name, step.text.replace(f"<<{heredoc.name}", "").strip() + heredoc.content, step.line, step.flags)
        command = list(step.words) if step.words is not None else [*stage.shell, step.text]
        shown = [f"{name}={value}" for name, value in sorted(stage.args.items()) if name not in PREDEFINED_ARGS]
        note = " ".join([f"|{len(shown)}", *shown, *command] if shown else command)
        if found := self._cached(image, stage, note):
            await self._line(" ---> Using cache")
            return found
        environment = [*(stage.config.get("Env") or []), *(f"{name}={value}" for name, value in self._run_args(stage).items())]
        container = await self._container(image, stage, command, environment)
        try:
            await self._execute(container.id, command)
            return await asyncio.to_thread(self._commit_container, container, image, stage, note)
        finally:
            found_ = self._engine.containers.find(container.id)
            await self._engine.containers.remove(found_, force=True, volumes=True)
            if not self._options.quiet:
                await self._line(f"Removing intermediate container {container.short}")

    def _commit_container(self, container: Container, image: ImageView, stage: Stage, note: str) -> ImageView:
        with self._engine.layers.layer(container) as layer:
            return self._commit(image, stage, note, layer)

    def _run_args(self, stage: Stage) -> dict[str, str]:
        proxies = {name: value for name, value in self._given.items() if name in PREDEFINED_ARGS}
        held = {entry.partition("=")[0] for entry in stage.config.get("Env") or []}
        return {name: value for name, value in {**proxies, **stage.args}.items() if name not in held}

    async def _container(self, image: ImageView, stage: Stage, command: list[str], environment: list[str]) -> Any:
        config = {
            **stage.config,
            "Image": image.id,
            "Entrypoint": [],
            "Cmd": command,
            "Env": environment,
            "Healthcheck": {"Test": ["NONE"]},
        }
        config.pop("OnBuild", None)
        host = {**self._options.host, "LogConfig": {"Type": "none"}}
        if self._options.network:
            host["NetworkMode"] = self._options.network
        made, _ = await self._engine.containers.create({**config, "HostConfig": host}, "", "", step=True)
        if not self._options.quiet:
            await self._line(f" ---> Running in {made.short}")
        return made

    async def _execute(self, key: str, command: list[str]) -> None:
        """Run a step's container to its end and pass on what it says. Raises BuildError where it fails."""
        containers = self._engine.containers
        container = containers.find(key)
        waiting = asyncio.ensure_future(containers.wait(container, "next-exit"))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with ours:
                await containers.attach(container, theirs, b"", Ends(False, True, True, True, False, False))
                await containers.start(container)
                await self._pass_on(ours)
            code, _ = await waiting
        finally:
            waiting.cancel()
        if code:
            raise BuildError(f"The command '{' '.join(command)}' returned a non-zero code: {code}", code)

    async def _pass_on(self, output: socket.socket) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while piece := await asyncio.get_running_loop().sock_recv(output, 65536):
            if not self._options.quiet:
                await self._say({"stream": decoder.decode(piece)})

    async def _workdir(self, image: ImageView, stage: Stage, note: str) -> ImageView:
        if found := self._cached(image, stage, note):
            await self._line(" ---> Using cache")
            return found
        layer = await asyncio.to_thread(self._engine.layers.with_folder, image, stage.folder, stage.config.get("User") or "")
        try:
            return await asyncio.to_thread(self._commit, image, stage, note, layer)
        finally:
            if layer is not None:
                await asyncio.to_thread(self._engine.layers.discard, layer)

    async def _files(self, image: ImageView, stage: Stage, step: Instruction) -> ImageView:
        source = await self._source(step, stage)
        copying = Copy.of(step, stage, self._context if source is None else None)
        sources = Sources(self._engine, copying, self._context, source)
        content = await asyncio.to_thread(sources.digest)
        note = f"{' '.join(stage.shell)} #(nop) {step.name} {content.rpartition(':')[2][:24]} in {copying.target} "
        if found := self._cached(image, stage, note, content):
            await self._line(" ---> Using cache")
            return found
        layer = await asyncio.to_thread(sources.into_layer, image)
        try:
            return await asyncio.to_thread(self._commit, image, stage, note, layer, content)
        finally:
            await asyncio.to_thread(self._engine.layers.discard, layer)

    async def _source(self, step: Instruction, stage: Stage) -> ImageView | None:
        """The stage or image that COPY --from names."""
        name = expanded(step.flags.get("from", ""), stage.variables(), stage.escape)
        if not name:
            return None
        try:
            return self._built.get(name.lower()) or await self._base(name, "")
        except GasangError as error:
            raise BuildError(f"invalid from flag value {name}: {error}") from error

    async def _line(self, text: str) -> None:
        await self._say({"stream": f"{text}\n"})
