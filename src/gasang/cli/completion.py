"""Completion scripts for bash, zsh and fish, made from the verbs' descriptions.

Pure text: verbs, flags and fixed choices are written into the script; names of images and machines are asked for when they are
needed, with ``gasang images --format name`` and ``gasang ps --all --format name``. No daemon is started for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gasang.cli.options import Option, Syntax

_LISTS: Final = {
    "images": "GASANG_AUTOSTART=no gasang images --format name 2>/dev/null",
    "machines": "GASANG_AUTOSTART=no gasang ps --all --format name 2>/dev/null",
}
"""What an argument completes → what lists it."""


def _flags(syntax: Syntax) -> list[str]:
    return [word for option in syntax.options for word in ([option.flag] + ([f"-{option.short}"] if option.short else []))]


def _kind_of_argument(syntax: Syntax) -> str:
    return syntax.arguments[0].completes if syntax.arguments else ""


def _spellings(option: Option[Any]) -> str:
    return "|".join([option.flag, *([f"-{option.short}"] if option.short else [])])


# bash


def _bash_values(option: Option[Any]) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word"))'
    return 'COMPREPLY=($(compgen -f -- "$word"))' if option.files else "COMPREPLY=()"


def _bash_verb(verb: str, syntax: Syntax) -> list[str]:
    lines = [f"    {verb})", '      case "$previous" in']
    lines += [f"        {_spellings(option)}) {_bash_values(option)}; return ;;" for option in syntax.options if option.takes_value]
    lines += ["      esac", f'      flags="{" ".join(_flags(syntax))}"']
    arguments = {
        **{kind: f'COMPREPLY+=($(compgen -W "$({command})" -- "$word"))' for kind, command in _LISTS.items()},
        "files": 'COMPREPLY+=($(compgen -f -- "$word"))',
    }
    if _kind_of_argument(syntax) in arguments:
        lines.append(f"      [[ $word == -* ]] || {arguments[_kind_of_argument(syntax)]}")
    elif syntax.arguments and (choices := _kind_of_argument(syntax)):
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
        f'    COMPREPLY=($(compgen -W "{" ".join(verbs)} --help --version" -- "$word")); return',
        "  fi",
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
    return [f"'*:{_zsh_quoted(syntax.arguments[0].name)}:{action}'"]


def zsh(verbs: Mapping[str, Syntax], summaries: Mapping[str, str]) -> str:
    """The script for zsh, to be put into a folder of $fpath as _gasang, or sourced."""
    lines = [
        "#compdef gasang",
        *(f'_gasang_{kind}() {{ compadd -- ${{(f)"$({command})"}} }}' for kind, command in _LISTS.items()),
        "_gasang() {",
        "  if (( CURRENT == 2 )); then",
        "    local -a verbs=(",
        *(f"      '{verb}:{_zsh_quoted(summaries[verb])}'" for verb in verbs),
        "    )",
        "    _describe verb verbs; return",
        "  fi",
        "  local verb=$words[2]",
        "  shift words; (( CURRENT-- ))",
        '  case "$verb" in',
    ]
    for verb, syntax in verbs.items():
        specs = [spec for option in syntax.options for spec in _zsh_option(option)] + _zsh_argument(syntax)
        lines.append(f"    {verb}) _arguments {' '.join(specs)} ;;")
    lines += ["  esac", "}", "compdef _gasang gasang"]
    return "\n".join(lines) + "\n"


# fish


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(verb: str, option: Option[Any]) -> str:
    words = [f"complete -c gasang -n '__fish_seen_subcommand_from {verb}' -l {option.name}"]
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
    return [f"complete -c gasang -n '__fish_seen_subcommand_from {verb}'{files}{proposed}"]


def fish(verbs: Mapping[str, Syntax], summaries: Mapping[str, str]) -> str:
    """The script for fish, to be put into ~/.config/fish/completions/gasang.fish."""
    lines = ["complete -c gasang -f"]
    lines += [f"complete -c gasang -n __fish_use_subcommand -a {verb} -d {_fish_quoted(summaries[verb])}" for verb in verbs]
    for verb, syntax in verbs.items():
        lines += [_fish_option(verb, option) for option in syntax.options]
        lines += _fish_argument(verb, syntax)
    return "\n".join(lines) + "\n"


SHELLS: Final[dict[str, Callable[[Mapping[str, Syntax], Mapping[str, str]], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
