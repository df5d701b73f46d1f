"""extlinux.conf (Syslinux wiki, "Config"; U-Boot: doc/develop/distro.rst): labels with a kernel, an initrd and what to append."""

from __future__ import annotations

from gasang.storage.bootable.entry import ENTRIES_MOST, Entry, Menu


def menu(text: str) -> Menu:
    """Its labels, the default first."""
    wanted = ""
    labels: dict[str, dict[str, str]] = {}
    settings: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.strip().replace("\t", " ").partition(" ")
        name, value = name.lower(), value.strip()
        if name == "label" and len(labels) < ENTRIES_MOST:
            settings = labels.setdefault(value, {})
        elif name == "default" and value:
            wanted = value
        elif name == "menu" and value.lower() == "default":
            wanted = next((label for label, kept in labels.items() if kept is settings), wanted)
        elif name:
            settings[name] = value
    found = {label: _entry(label, kept) for label, kept in labels.items()}
    order = [*([wanted] if wanted in found else []), *(label for label in found if label != wanted)]
    return Menu(tuple(entry for label in order if (entry := found[label]) is not None))


def _entry(label: str, kept: dict[str, str]) -> Entry | None:
    kernel = kept.get("linux") or kept.get("kernel", "")
    options = kept.get("append", "")
    if not kernel or kernel.endswith((".c32", ".com", ".bin", ".0")):
        return None
    given = [word for word in options.split() if word.startswith("initrd=")]
    initrds = kept.get("initrd", "") or ",".join(word.removeprefix("initrd=") for word in given)
    left = " ".join(word for word in options.split() if word not in given)
    return Entry(label, kernel, tuple(each for each in initrds.split(",") if each), left)
