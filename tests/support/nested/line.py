"""Inside the machine: the serial line on which its program reports, a JSON object a line."""

from __future__ import annotations

import json
import os
import tty
from pathlib import Path
from typing import Final

DEVICE: Final = Path("/dev/ttyS1")


class Line:
    """The line, raw."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._descriptor = os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        tty.setraw(self._descriptor)

    def tell(self, **facts: object) -> None:
        """Say one thing."""
        data = json.dumps(facts).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
