"""Settings: one table of them, and the order in which their sources win.

A flag on the command line wins over ``GASANG_NAME`` in the environment, that over ``gasang.toml`` in the project (the working
directory or the nearest one above it that has the file), that over the user's ``config.toml``, that over the default. Pure:
reading the files is the caller's business; this file takes their text.

Every value, wherever it stands, is text that the setting's own parser takes, so that ``memory = "1G"`` and
``GASANG_MEMORY=1G`` and ``--memory 1G`` mean the same and fail with the same sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gasang.core.errors import UsageError
from gasang.core.units import MIB, parse_duration, parse_size

MAXIMUM_CPUS: Final = 64
MINIMUM_MEMORY: Final = 32 * MIB
MAXIMUM_MEMORY: Final = 1 << 40


def parse_cpus(text: str, subject: str) -> int:
    """A number of vCPUs; raise UsageError unless it is from 1 to MAXIMUM_CPUS."""
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAXIMUM_CPUS):
        raise UsageError(subject, f"{text!r} is no number of processors", f"write a number from 1 to {MAXIMUM_CPUS}")
    return int(text)


def parse_memory(text: str, subject: str) -> int:
    """Bytes of guest memory, a multiple of 4 KiB; raise UsageError unless it lies within what a machine can have."""
    size = parse_size(text, subject)
    if not MINIMUM_MEMORY <= size <= MAXIMUM_MEMORY:
        raise UsageError(subject, f"a machine cannot have {text} of memory", "write a size from 32M to 1T, as in 512M")
    return size & ~4095


def parse_boolean(text: str, subject: str) -> bool:
    """True or False from the words people use; raise UsageError for any other."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False, "": False}
    if text.lower() not in words:
        raise UsageError(subject, f"{text!r} is neither true nor false", "write true or false")
    return words[text.lower()]


def one_of(*choices: str) -> Callable[[str, str], str]:
    """A parser that takes just `choices`."""

    def parse(text: str, subject: str) -> str:
        if text not in choices:
            raise UsageError(subject, f"there is no {text!r}", f"choose one of {', '.join(choices)}")
        return text

    return parse


def parse_mirror(text: str, subject: str) -> str:
    """The base address of a Debian mirror; raise UsageError unless it is an http or https address without spaces."""
    if not text.startswith(("http://", "https://")) or any(sign.isspace() or not sign.isprintable() for sign in text):
        raise UsageError(subject, f"{text!r} is no address of a mirror", "write one such as http://deb.debian.org/debian")
    return text.rstrip("/")


def parse_keyring(text: str, subject: str) -> Path | None:
    """The path of a file of keys, None for an empty text; raise UsageError for what is no path."""
    if "\0" in text:
        raise UsageError(subject, "its value has a NUL character", "write the path of a file")
    return Path(text) if text else None


def parse_timeout(text: str, subject: str) -> float:
    """Seconds, from 0.1 to an hour; raise UsageError for anything else."""
    seconds = parse_duration(text, subject)
    if not 0.1 <= seconds <= 3600:
        raise UsageError(subject, f"{text!r} is too short or too long", "write a time from 100ms to 1h")
    return seconds


class Setting(NamedTuple):
    """One thing that can be set: its parser takes (text, subject) and raises UsageError about the subject.

    A `personal` one is the user's to decide: the file of a project, which may be somebody else's, cannot set it.
    """

    name: str
    default: str
    parse: Callable[[str, str], Any]
    help: str
    personal: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return f"GASANG_{self.name.upper()}"


_ALL: Final = (
    Setting("cpus", "1", parse_cpus, "processors of a machine"),
    Setting("memory", "1G", parse_memory, "memory of a machine"),
    Setting("mirror", "http://deb.debian.org/debian", parse_mirror, "Debian mirror that images are made from"),
    Setting("keyring", "", parse_keyring, "keys that sign a mirror's release file, as gpgv takes them (default: Debian's)", personal=True),
    Setting("timeout", "30s", parse_timeout, "how long a mirror may send nothing until it is asked once more"),
    Setting(
        "debian",
        "auto",
        one_of("auto", "registry", "mirror"),
        "where container images of Debian's suites come from; auto: the registry, or the mirror's packages where it cannot be reached",
    ),
    Setting("progress", "auto", one_of("auto", "plain", "json", "none"), "how progress is shown"),
    Setting("autostart", "true", parse_boolean, "start the daemon when a verb needs it"),
    Setting("debug", "false", parse_boolean, "show tracebacks of errors"),
)
SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in _ALL}


class Source(NamedTuple):
    """One place that settings come from: what a sentence calls it, and its texts by setting name."""

    label: str
    values: Mapping[str, str]


def from_environment(environment: Mapping[str, str]) -> Source:
    """The settings among the environment's variables. An empty variable counts as not set."""
    found = {setting.name: environment[setting.variable] for setting in _ALL if environment.get(setting.variable)}
    return Source("environment", found)


def from_toml(text: str, label: str, *, personal: bool = True) -> Source:
    """The settings of a TOML file called `label`; `personal` says whether it is the user's own.

    Raise UsageError if it is no TOML, names an unknown setting or one that is not its to set, or gives one a value that is no text,
    number or boolean.
    """
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(label, f"it is no TOML ({error})", "mend the file or remove it") from error
    values: dict[str, str] = {}
    for name, value in content.items():
        if name not in SETTINGS:
            raise UsageError(label, f"there is no setting {name!r}", f"the settings are {', '.join(SETTINGS)}")
        if SETTINGS[name].personal and not personal:
            raise UsageError(label, f"a project cannot set {name!r}", f"set it in your own config.toml or as {SETTINGS[name].variable}")
        if not isinstance(value, str | int):
            raise UsageError(label, f"the setting {name!r} is neither text nor a number", f'write it as in {name} = "…"')
        values[name] = str(value)
    return Source(label, values)


class Config:
    """The settings in force, resolved over sources given strongest first."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def over(self, values: Mapping[str, str]) -> Config:
        """The same with texts that win over all others, as flags do."""
        return Config([Source("flag", values), *self._sources])

    def value(self, name: str) -> Any:
        """The value of setting `name`; raise UsageError, naming the source, if its text is wrong."""
        setting = SETTINGS[name]
        for source in self._sources:
            text = source.values.get(name)
            if text is not None:
                return setting.parse(text, self._subject(setting, source))
        return setting.parse(setting.default, name)

    def origin(self, name: str) -> str:
        """The label of the source that decides setting `name`."""
        return next((source.label for source in self._sources if name in source.values), "default")

    @staticmethod
    def _subject(setting: Setting, source: Source) -> str:
        if source.label == "environment":
            return setting.variable
        if source.label == "flag":
            return f"--{setting.name}"
        return f"{source.label}, {setting.name}"
