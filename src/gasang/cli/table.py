"""The verbs, in the order of the help page: one line each.

A line costs nothing until its verb is used: the module ``gasang.cli.verbs.NAME`` holds SYNTAX (a Syntax) and
run(parsed) -> exit code. This file imports nothing, so that ``gasang --help`` takes no longer than Python itself.
"""

VERBS = {
    "run": "start a machine from an image or a kernel",
    "create": "make a container without starting it",
    "start": "start machines that were made or have ended",
    "stop": "ask machines to end, and kill those that do not",
    "restart": "stop machines and start them again",
    "kill": "send a signal to machines",
    "pause": "freeze machines",
    "unpause": "let frozen machines go on",
    "resume": "let frozen machines go on",
    "rm": "remove machines",
    "snapshot": "keep a virtual machine's present state, list and remove what is kept",
    "restore": "have a virtual machine go on from a snapshot",
    "fork": "make running twins of a virtual machine",
    "ps": "list machines",
    "exec": "run a command inside a machine",
    "attach": "sit down at a machine that runs",
    "logs": "show what a machine has said",
    "wait": "wait until machines end",
    "inspect": "show all that is known of something",
    "top": "list the processes of a machine",
    "stats": "show what machines use",
    "port": "show where a machine's ports are found",
    "update": "change the limits of machines",
    "diff": "show what a machine has changed",
    "cp": "copy files into and out of a machine",
    "rename": "give a machine another name",
    "commit": "make an image of a machine",
    "export": "write a machine's files to an archive",
    "images": "list the images that are here",
    "pull": "make an image ready to run",
    "push": "give an image to a registry",
    "build": "make an image from a Dockerfile",
    "tag": "give an image one more name",
    "rmi": "remove images",
    "history": "show how an image came to be",
    "save": "write images to an archive",
    "load": "read images out of an archive",
    "import": "make an image from an archive of files",
    "login": "log in to a registry",
    "logout": "forget the password of a registry",
    "search": "search a registry for images",
    "network": "make, list and remove networks",
    "volume": "make, list and remove volumes",
    "backup": "keep machines and volumes, check what is kept, make them anew",
    "nbd": "offer disk images over the network, or as block devices",
    "container": "the verbs about containers as a family, and prune",
    "image": "the verbs about images as a family, and prune",
    "builder": "forget what builds have kept",
    "system": "show what takes the disk, and tidy up",
    "events": "show what happens, as it happens",
    "oci": "run OCI bundles, as container engines ask for it",
    "daemon": "run the engine behind containers, or tell of it",
    "info": "show what the daemon keeps and runs on",
    "version": "show the versions of command and daemon",
    "kinds": "list the kinds of machines and what each can do",
    "doctor": "check this host and say what to mend",
    "disasm": "show the instructions of an ELF file",
    "trace": "show what a machine executes: instructions, traps, exits",
    "completion": "print the completion script of a shell",
}
"""name → what it does."""


def module_of(verb: str) -> str:
    """The module of `verb`, to be imported when it is used; one that Python keeps for itself has a _ behind it."""
    return f"gasang.cli.verbs.{verb}{'_' if verb == 'import' else ''}"
