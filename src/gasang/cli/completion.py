"""Completion scripts for bash, zsh and fish, made from the verbs' descriptions.

Pure text: verbs, flags and fixed choices are written into the script; names of images, machines, networks and volumes are asked for
when they are needed, as in ``gasang ps --all --format name``. No daemon is started for that. A family's command is a verb of two words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gasang.cli.options import Option, Syntax

_LISTS: Final = {
    "images": "GASANG_AUTOSTART=no gasang images --format name 2>/dev/null",
    "machines": "GASANG_AUTOSTART=no gasang ps --all --format name 2>/dev/null",
    "networks": "GASANG_AUTOSTART=no gasang network ls --format name 2>/dev/null",
    "volumes": "GASANG_AUTOSTART=no gasang volume ls --format name 2>/dev/null",
}
"""What an argument completes → what lists it."""


def _flags(syntax: Syntax) -> list[str]:
    return [word for option in syntax.options for word in ([option.flag] + ([f"-{option.short}"] if option.short else []))]


def _kind_of_argument(syntax: Syntax) -> str:
    return syntax.arguments[0].completes if syntax.arguments else " ".join(name for name, _ in syntax.commands)


def _first(verbs: Mapping[str, Syntax]) -> list[str]:
    """The verbs of one word."""
    return [verb for verb in verbs if " " not in verb]


def _spellings(option: Option[Any]) -> str:
    return "|".join([option.flag, *([f"-{option.short}"] if option.short else [])])


def _commands(verbs: Mapping[str, Syntax]) -> str:
    """The verbs of two words, each between a space and a comma."""
    return "".join(f" {verb}," for verb in verbs if " " in verb)


# bash


def _bash_values(option: Option[Any]) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word"))'
    return 'COMPREPLY=($(compgen -f -- "$word"))' if option.files else "COMPREPLY=()"


def _bash_verb(verb: str, syntax: Syntax) -> list[str]:
    lines = [f'    "{verb}")', '      case "$previous" in']
    lines += [f"        {_spellings(option)}) {_bash_values(option)}; return ;;" for option in syntax.options if option.takes_value]
    lines += ["      esac", f'      flags="{" ".join(_flags(syntax))}"']
    arguments = {
        **{kind: f'COMPREPLY+=($(compgen -W "$({command})" -- "$word"))' for kind, command in _LISTS.items()},
        "files": 'COMPREPLY+=($(compgen -f -- "$word"))',
    }
    if _kind_of_argument(syntax) in arguments:
        lines.append(f"      [[ $word == -* ]] || {arguments[_kind_of_argument(syntax)]}")
    elif choices := _kind_of_argument(syntax):
        lines.append(f'      [[ $word == -* ]] || COMPREPLY+=($(compgen -W "{choices}" -- "$word"))')
    return [*lines, "      ;;"]


def bash(verbs: Mapping[str, Syntax], summaries: Mapping[str, str]) -> str:
    """The script for bash, to be sourced or put into bash-completion's folder."""
    lines = [
        "_gasang() {",
        '  local word="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}"',
        '  local flags="" COMP_WORDBREAKS=" "',
        "  COMPREPLY=()",
        "  if (( COMP_CWORD == 1 )); then",
        f'    COMPREPLY=($(compgen -W "{" ".join(_first(verbs))} --help --version" -- "$word")); return',
        "  fi",
        f'  if (( COMP_CWORD > 2 )) && [[ "{_commands(verbs)}" == *" $verb ${{COMP_WORDS[2]}},"* ]]; then verb+=" ${{COMP_WORDS[2]}}"; fi',
        '  case "$verb" in',
    ]
    for verb, syntax in verbs.items():
        lines += _bash_verb(verb, syntax)
    lines += [
        "  esac",
        '  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$word")); fi',
        "}",
        "complete -o filenames -F _gasang gasang",
    ]
    return "\n".join(lines) + "\n"


# zsh


def _zsh_quoted(text: str) -> str:
    return text.replace("'", "’").replace("[", "(").replace("]", ")").replace(":", ",")


def _zsh_option(option: Option[Any]) -> list[str]:
    action = ""
    if option.takes_value:
        choices = f"({' '.join(option.choices)})" if option.choices else "_files" if option.files else " "
        action = f":{_zsh_quoted(option.placeholder)}:{choices}"
    spellings = [option.flag, *([f"-{option.short}"] if option.short else [])]
    return [f"'*{spelling}[{_zsh_quoted(option.help)}]{action}'" for spelling in spellings]


def _zsh_argument(syntax: Syntax) -> list[str]:
    kind = _kind_of_argument(syntax)
    if not kind:
        return []
    action = {**{name: f"_gasang_{name}" for name in _LISTS}, "files": "_files"}.get(kind, f"({kind})")
    title = syntax.arguments[0].name if syntax.arguments else "command"
    return [f"'*:{_zsh_quoted(title)}:{action}'"]


def zsh(verbs: Mapping[str, Syntax], summaries: Mapping[str, str]) -> str:
    """The script for zsh, to be put into a folder of $fpath as _gasang, or sourced."""
    lines = [
        "#compdef gasang",
        *(f'_gasang_{kind}() {{ compadd -- ${{(f)"$({command})"}} }}' for kind, command in _LISTS.items()),
        "_gasang() {",
        "  if (( CURRENT == 2 )); then",
        "    local -a verbs=(",
        *(f"      '{verb}:{_zsh_quoted(summaries[verb])}'" for verb in _first(verbs)),
        "    )",
        "    _describe verb verbs; return",
        "  fi",
        "  local verb=$words[2]",
        "  shift words; (( CURRENT-- ))",
        f'  if (( CURRENT > 2 )) && [[ "{_commands(verbs)}" == *" $verb $words[2],"* ]]; then',
        '    verb="$verb $words[2]"; shift words; (( CURRENT-- ))',
        "  fi",
        '  case "$verb" in',
    ]
    for verb, syntax in verbs.items():
        specs = [spec for option in syntax.options for spec in _zsh_option(option)] + _zsh_argument(syntax)
        lines.append(f"    '{verb}') _arguments {' '.join(specs)} ;;")
    lines += ["  esac", "}", "compdef _gasang gasang"]
    return "\n".join(lines) + "\n"


# fish


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_seen(verb: str) -> str:
    """The condition that every word of a verb has been typed."""
    return "'" + "; and ".join(f"__fish_seen_subcommand_from {word}" for word in verb.split()) + "'"


def _fish_option(verb: str, option: Option[Any]) -> str:
    words = [f"complete -c gasang -n {_fish_seen(verb)} -l {option.name}"]
    if option.short:
        words.append(f"-s {option.short}")
    if option.takes_value:
        words.append("-r" if option.files else "-x")
    if option.choices:
        words.append(f"-a {_fish_quoted(' '.join(option.choices))}")
    words.append(f"-d {_fish_quoted(option.help)}")
    return " ".join(words)


def _fish_argument(verb: str, syntax: Syntax) -> list[str]:
    kind = _kind_of_argument(syntax)
    choices = {"": "", "files": "", **{name: f"(env {command})" for name, command in _LISTS.items()}}.get(kind, kind)
    files = " -F" if kind == "files" else ""
    if not (choices or files):
        return []
    proposed = f" -a {_fish_quoted(choices)}" if choices else ""
    return [f"complete -c gasang -n {_fish_seen(verb)}{files}{proposed}"]


def fish(verbs: Mapping[str, Syntax], summaries: Mapping[str, str]) -> str:
    """The script for fish, to be put into ~/.config/fish/completions/gasang.fish."""
    lines = ["complete -c gasang -f"]
    lines += [f"complete -c gasang -n __fish_use_subcommand -a {verb} -d {_fish_quoted(summaries[verb])}" for verb in _first(verbs)]
    for verb, syntax in verbs.items():
        lines += [_fish_option(verb, option) for option in syntax.options]
        lines += _fish_argument(verb, syntax)
    return "\n".join(lines) + "\n"


SHELLS: Final[dict[str, Callable[[Mapping[str, Syntax], Mapping[str, str]], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
