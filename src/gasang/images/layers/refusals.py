"""What is said of an archive that breaks a rule, by the rule's number (state.py)."""

from __future__ import annotations

from gasang.images.layers import state as s

REFUSALS = {
    s.CHECKSUM: "a header behind {name} in its archive is damaged",
    s.NUMBER: "a number of {name} in its archive is damaged or out of range",
    s.ABSOLUTE: "{name} in its archive is an absolute path",
    s.CLIMBS: "{name} in its archive climbs out of the image",
    s.TOO_LONG: "{name} in its archive has too long a path",
    s.THROUGH: "{name} in its archive goes through something that is no directory",
    s.UNKNOWN_TARGET: "{name} in its archive is a hard link to what the layer does not have",
    s.UNKNOWN_KIND: "{name} in its archive is of a kind nobody knows",
    s.HUGE_EXTENSION: "an extended header behind {name} in its archive is too long",
    s.EMPTY_NAME: "an entry of its archive has no name",
    s.NUL_NAME: "{name} in its archive has a zero byte in its name",
}
