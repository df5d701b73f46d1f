"""What a disk volume consists of, as a document: its layers, which of them is written, and which snapshots stand on which. Pure.

Every layer holds what differs from the layer below it. Only `top` is written; a snapshot names a layer that is not, so it costs a new,
empty top. Layers are a tree: a volume that went back to a snapshot goes on beside what was written since.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from gasang.core.errors import BadInputError, StateError

VERSION: Final = 1
QCOW2, RAW = "qcow2", "raw"
FORMS: Final = {QCOW2: "qcow2", RAW: "img"}
"""Format of a layer → what its file's name ends with."""
LAYERS_MAX: Final = 60
"""Layers on one another; images have 64 at most (storage/images/references.py)."""
MOST_BYTES: Final = 1 << 20
"""Of a document."""
_KEY: Final = re.compile(r"[0-9a-f]{16}")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""What a snapshot may be called."""
_HELD: Final = re.compile(NAME.pattern + "@([0-9a-f]{12}|x[0-9a-f]{11})")
"""What one is called that belongs to a machine's snapshot (`held_name`): nobody else can give such a name."""
_BASES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Layer:
    """A file of the volume; `below` is the layer that it stands on, "" for none."""

    form: str = QCOW2
    below: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot: the layer it ends with, the bytes that the disk had, and when it was made."""

    layer: str
    size: int
    created: str


@dataclass(frozen=True)
class Record:
    """A volume. `file_system` is what we made on it, "" for nothing yet; `bases` are the layers that backups ended with, by their place."""

    form: str
    top: str
    layers: dict[str, Layer]
    snapshots: dict[str, Kept] = field(default_factory=dict)
    file_system: str = ""
    bases: dict[str, str] = field(default_factory=dict)

    def file(self, key: str) -> str:
        """What the file of a layer is called."""
        return f"{key}.{FORMS[self.layers[key].form]}"

    def chain(self, key: str) -> Iterator[str]:
        """A layer and those below it."""
        while key:
            yield key
            key = self.layers[key].below

    def reachable(self) -> Record:
        """Without layers that neither the present state nor a snapshot stands on, and bases that are gone with them."""
        ends = (self.top, *(kept.layer for kept in self.snapshots.values()))
        used = {key for end in ends for key in self.chain(end)}
        layers = {key: layer for key, layer in self.layers.items() if key in used}
        return replace(self, layers=layers, bases={place: key for place, key in self.bases.items() if key in used})

    def on(self, below: str, key: str) -> Record:
        """With a new top on the layer `below`. Raises StateError where too many stand on one another."""
        if sum(1 for _ in self.chain(below)) >= LAYERS_MAX:
            raise StateError("volume", f"{LAYERS_MAX} snapshots stand on one another", "remove some of them, or clone it")
        return replace(self, top=key, layers={**self.layers, key: Layer(QCOW2, below)})

    def with_base(self, place: str, key: str) -> Record:
        """Where the backups of a place have got to; the places that were used last are remembered."""
        bases = {other: base for other, base in self.bases.items() if other != place}
        return replace(self, bases=dict([*bases.items(), (place, key)][-_BASES_MAX:]))

    def spare(self) -> tuple[str, str] | None:
        """A layer that nothing needs by itself, and the only one on it, neither of them written: one file could hold both."""
        wanted = {self.top, *(kept.layer for kept in self.snapshots.values()), *self.bases.values()}
        above: dict[str, list[str]] = {}
        for key, layer in self.layers.items():
            above.setdefault(layer.below, []).append(key)
        for key, layer in self.layers.items():
            on_it = above.get(key, [])
            if key not in wanted and layer.form == QCOW2 and len(on_it) == 1 and on_it[0] != self.top:
                return key, on_it[0]
        return None

    def make(self) -> bytes:
        """The document."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode()


def held_name(snapshot: str, keeper: str) -> str:
    """What the snapshot of a volume is called that the snapshot of a machine needs: `keeper` is whose (12 digits of the machine's id)."""
    return f"{snapshot}@{keeper}"


def keeper_of(name: str) -> str:
    """Whose snapshot needs the volume's snapshot of that name; "" for nobody's."""
    return name.rpartition("@")[2] if "@" in name else ""


def new_key() -> str:
    """The name of a new layer, in all volumes: clones share layers by name."""
    return secrets.token_hex(8)


def parse(data: bytes, subject: str) -> Record:
    """The volume of a document. Raises BadInputError for one that is damaged."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large")
        document = json.loads(data)
        if document.pop("version") != VERSION:
            raise ValueError("another gasang wrote it")
        layers = {str(key): Layer(**layer) for key, layer in document.pop("layers").items()}
        snapshots = {str(name): Kept(**kept) for name, kept in document.pop("snapshots").items()}
        record = Record(layers=layers, snapshots=snapshots, **document)
        _check(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInputError(subject, f"its record is damaged ({error})", "restore it from a backup") from error
    return record


def _check(record: Record) -> None:
    """Raises ValueError, TypeError or KeyError for what no volume says."""
    if record.form not in FORMS or not isinstance(record.file_system, str) or not isinstance(record.bases, dict):
        raise ValueError("its format is not known")
    for key, layer in record.layers.items():
        _expect(_KEY.fullmatch(key) is not None and layer.form in FORMS, f"layer {key[:20]!r}")
        _expect(layer.below in record.layers if layer.below else layer.below == "", f"what is below layer {key}")
        _expect(not layer.below or layer.form == QCOW2, f"the format of layer {key}")
    for key in record.layers:
        for length, _ in enumerate(record.chain(key)):
            _expect(length <= LAYERS_MAX, "layers in a loop")
    _expect(record.top in record.layers, "its top")
    for name, kept in record.snapshots.items():
        is_one = NAME.fullmatch(name) or _HELD.fullmatch(name)
        _expect(is_one and kept.layer in record.layers and kept.layer != record.top, f"snapshot {name[:20]!r}")
        _expect(type(kept.size) is int and 0 < kept.size < 1 << 56 and isinstance(kept.created, str), f"snapshot {name}")
    for place, key in record.bases.items():
        _expect(isinstance(place, str) and key in record.layers and key != record.top, "a base")


def _expect(holds: Any, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} cannot be")
