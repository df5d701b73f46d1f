"""The command ``gasang``: from the words of a command line to an exit code.

The help page and the version are printed before anything else is imported. A verb's module is imported when the verb is
used. This is the one place where errors end and become a sentence and an exit code (cli/exits.py says which).
"""

from __future__ import annotations

import sys

from gasang.cli.table import VERBS, module_of

TYPE_CHECKING = False  # the real one costs the import of typing, which the help page does without
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType, TracebackType

PITCH = "gasang makes machines that do not exist: a processor, a computer and what runs on it, described in Python."


def front_page() -> str:
    """The page of ``gasang --help``."""
    width = max(map(len, VERBS))
    lines = [f"Usage: gasang VERB [options] …\n\n{PITCH}\n\nVerbs:"]
    lines += [f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items()]
    lines += [
        "",
        "gasang VERB --help tells more, with examples. Two to begin with:",
        "  gasang doctor",
        "  gasang run --vm debian:trixie",
    ]
    return "\n".join(lines) + "\n"


def _nothing() -> None:
    """Nobody waits for a verb to begin."""


def main(arguments: Sequence[str] | None = None, *, ready: Callable[[], None] = _nothing) -> int:
    """Run the command line `arguments` (default: the process's own) and return its exit code; `ready` is called before the verb begins."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no … must not end in a traceback
    if len(words) > 1 and words[0] == "help":
        words = [words[1], "--help"]
    if not words or words[0] in {"--help", "-h", "help"}:
        return _end_with(front_page())
    if words[0] == "--version":
        from gasang import __version__

        return _end_with(f"gasang {__version__}\n")
    return _guarded(words, ready)


def _end_with(text: str) -> int:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError as error:
        return _report(error, debug=False)
    return 0


def _guarded(words: list[str], ready: Callable[[], None]) -> int:
    """Dispatch `words`; turn every error a user can meet into its sentence and code."""
    from gasang.core.errors import GasangError

    debug = _wants_debug(words)
    previous_hook = sys.excepthook
    if not debug:
        sys.excepthook = _tell_of_fault
    try:
        code = _dispatch(words, ready)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (GasangError, OSError, MemoryError, KeyboardInterrupt) as error:
        code = _report(error, debug)
    sys.excepthook = previous_hook
    return code


def _wants_debug(words: list[str]) -> bool:
    import os

    own = words[: words.index("--")] if "--" in words else words
    return "--debug" in own or os.environ.get("GASANG_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def _dispatch(words: list[str], ready: Callable[[], None]) -> int:
    from gasang.cli.options import HELP
    from gasang.cli.parse import parse
    from gasang.cli.standard import DEBUG, with_standard_options

    early, words = _leading_options(words)
    verb = words.pop(0) if words else ""
    module = _load(verb)
    syntax = with_standard_options(module.SYNTAX)
    parsed = parse(verb, syntax, [*early, *words])
    if parsed.get(HELP):
        from gasang.cli.help import page

        print(page(verb, syntax), end="")
        return 0
    from gasang.cli.settings import Context
    from gasang.cli.signals import ending_is_an_exception

    with ending_is_an_exception():
        context = Context.of_process(parsed)
        context.config.value(DEBUG.name)  # a wrong GASANG_DEBUG is told, not ignored
        ready()
        code: int = module.run(parsed, context)
    return code


def _leading_options(words: list[str]) -> tuple[list[str], list[str]]:
    """The options that stand before the verb, and the rest; they mean the same after it."""
    count = 0
    while count < len(words) and words[count].startswith("-"):
        count += 2 if words[count] == "--progress" else 1
    return words[:count], words[count:]


def _load(verb: str) -> ModuleType:
    """The module of `verb`; raise UsageError if there is no such verb."""
    from importlib import import_module

    from gasang.cli.parse import nearest
    from gasang.core.errors import UsageError

    if not verb:
        raise UsageError("command line", "the verb is missing", "gasang --help lists the verbs")
    if verb not in VERBS:
        guess = nearest(verb, list(VERBS))
        raise UsageError(f"verb {verb!r}", "there is no such verb", f"did you mean {guess}?" if guess else "gasang --help lists the verbs")
    return import_module(module_of(verb))


def _report(error: BaseException, debug: bool) -> int:
    """Tell the user of `error` on standard error and return its exit code."""
    from gasang.cli.exits import exit_code, sentence

    if isinstance(error, OSError):
        _forget_output()
    if debug and not isinstance(error, BrokenPipeError):
        import traceback

        traceback.print_exception(error)
    _say(sentence(error))
    return exit_code(error)


def _say(text: str) -> None:
    if text and sys.stderr is not None:
        print(f"gasang: {text}", file=sys.stderr)


def _forget_output() -> None:
    """Drop what standard output still holds if it cannot be written, or Python would complain again when it ends."""
    import os

    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_of_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an exception nobody caught: a fault of gasang. The exit code is then 1."""
    from gasang.cli.exits import sentence

    _say(sentence(error))
