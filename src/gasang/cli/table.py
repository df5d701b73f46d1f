"""The verbs, in the order of the help page: one line each.

A line costs nothing until its verb is used: the module ``gasang.cli.verbs.NAME`` holds SYNTAX (a Syntax) and
run(parsed) -> exit code. This file imports nothing, so that ``gasang --help`` takes no longer than Python itself.
"""

VERBS = {
    "run": "start a machine from an image or a kernel",
    "images": "list the images that are here",
    "pull": "make an image ready to run",
    "rmi": "remove images",
    "oci": "run OCI bundles, as container engines ask for it",
    "daemon": "run the engine behind containers, or tell of it",
    "kinds": "list the kinds of machines and what each can do",
    "doctor": "check this host and say what to mend",
    "disasm": "show the instructions of an ELF file",
    "trace": "show what a machine executes: instructions, traps, exits",
    "completion": "print the completion script of a shell",
}
"""name → what it does."""


def module_of(verb: str) -> str:
    """The module of `verb`, to be imported when it is used."""
    return f"gasang.cli.verbs.{verb}"
