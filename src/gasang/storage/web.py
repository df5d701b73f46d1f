"""What is an address on a web server, and what such servers refuse. Asking them (http.py) takes a library that files here do not need."""

from __future__ import annotations

from typing import Final

from gasang.core.errors import UnsupportedError

SCHEMES: Final = ("http://", "https://")


class PartsError(UnsupportedError):
    """The server sends whole files alone."""
