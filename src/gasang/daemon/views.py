"""What containers need of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ImageView:
    """An image: its id, the "config" object of its configuration (image-spec, config.md), its unpacked layers, the uppermost first."""

    id: str
    config: dict[str, Any]
    layers: tuple[Path, ...]
    platform: str = "linux"
