"""The reference page of the command line, as Markdown, from the same descriptions as the help pages.

``python -m gasang.cli.reference > docs/reference/command-line.md`` writes it anew; a test compares.
"""

from __future__ import annotations

from importlib import import_module

from gasang.cli.containers.family import Command, Commands, here
from gasang.cli.help import page
from gasang.cli.options import Syntax
from gasang.cli.standard import with_standard_options
from gasang.cli.table import VERBS, module_of
from gasang.core.config import SETTINGS

_EXITS = (
    ("0", "done"),
    ("1", "failed; also a damaged, foreign or forged file"),
    ("2", "the command line or a file of settings is wrong"),
    ("3", "the named thing does not exist"),
    ("4", "the thing is in a state that does not allow this"),
    ("5", "the host does not permit it"),
    ("6", "this host or this build cannot do it"),
    ("7", "disk, memory or quota is exhausted"),
    ("8", "no progress within the time allowed"),
    ("9", "the daemon is needed and does not run"),
    ("125", "`run`: the machine could not start, or died before its command ended"),
    ("126, 127", "`run`, `exec`: the command cannot be executed, or is not there, inside the machine"),
    ("130", "interrupted (Ctrl-C); another signal: 128 and its number"),
    ("141", "nobody reads the output"),
)

_INTRODUCTION = """# The command line

Made from the verbs' own descriptions by `python -m gasang.cli.reference`; do not edit.

Data goes to standard output, everything else to standard error. Options may stand before and after an argument; long
options are never abbreviated. An error is one sentence: what, why, and what to do next; `--debug` adds the traceback.
`NO_COLOR` is honoured.
"""

_FOLDERS = """## Folders

| what | where |
| --- | --- |
| images | `$XDG_DATA_HOME/gasang`, or `~/.local/share/gasang` |
| downloads and unpacked disks | `$XDG_CACHE_HOME/gasang`, or `~/.cache/gasang` |
| compiled code | `$GASANG_NATIVE_CACHE`, or `native` in the folder above |
| settings | `$XDG_CONFIG_HOME/gasang/config.toml`, or `~/.config/gasang/config.toml` |

`GASANG_HOME`, an absolute path, puts images, downloads and settings below itself: `data`, `cache`, `config.toml`.
"""


def all_verbs() -> dict[str, Syntax]:
    """The syntax of every verb, in the table's order; after a family those of its own commands, such as "network create"."""
    syntaxes: dict[str, Syntax] = {}
    for verb in VERBS:
        module = import_module(module_of(verb))
        commands: Commands = getattr(module, "COMMANDS", {})
        syntaxes[verb] = with_standard_options(module.SYNTAX)
        for name, command in commands.items():
            found = here(command, name)
            if isinstance(found, Command):
                syntaxes[f"{verb} {name}"] = with_standard_options(found.syntax)
    return syntaxes


def markdown() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for verb, syntax in all_verbs().items():
        parts.append(f"## gasang {verb}\n\n```\n{page(verb, syntax)}```\n")
    rows = "".join(f"| {code} | {meaning} |\n" for code, meaning in _EXITS)
    told = "`run` and `exec` pass on the code of the command inside. Otherwise:"
    parts.append(f"## Exit codes\n\n{told}\n\n| code | means |\n| --- | --- |\n{rows}")
    rows = "".join(f"| `{s.name}` | `{s.variable}` | {f'`{s.default}`' if s.default else ''} | {s.help} |\n" for s in SETTINGS.values())
    parts.append(
        "## Settings\n\nA flag wins over the variable, that over `gasang.toml` in the working directory or the nearest one above it,\n"
        'that over `$XDG_CONFIG_HOME/gasang/config.toml` (or `~/.config/…`), that over the default. In a file: `memory = "2G"`.\n\n'
        f"| setting | variable | default | what |\n| --- | --- | --- | --- |\n{rows}"
    )
    parts.append(_FOLDERS)
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown(), end="")
