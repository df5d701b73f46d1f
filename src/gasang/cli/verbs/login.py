"""``gasang login``: let a registry know who we are, and remember it."""

from __future__ import annotations

import os
import sys

from gasang.cli.containers.daemon import connect
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

USERNAME = value("username", "NAME", "who; asked for at a terminal if it is not given", plain_text, short="u")
PASSWORD = value("password", "PASSWORD", "as it stands, for others to see in the list of processes", plain_text, short="p")
STANDARD_INPUT = switch("password-stdin", "read the password from standard input")
LARGEST = 1 << 16

SYNTAX = Syntax(
    "Log in to a registry, and remember it for pull, push and build.",
    options=(USERNAME, PASSWORD, STANDARD_INPUT),
    arguments=(Argument("REGISTRY", "such as localhost:5000 (default: Docker Hub)", required=False),),
    examples=(
        Example("gasang login registry.example.org", "ask for name and password"),
        Example("gasang login -u me --password-stdin registry.example.org < token", "in a script"),
    ),
    notes="What is remembered is in ~/.docker/config.json, or with the helper that it names; docker reads and writes the same.",
)


def _password(parsed: Parsed) -> str:
    """The password, asked for where it is not given. Raises UsageError where nobody can be asked."""
    given = parsed.get(PASSWORD)
    if given is not None and parsed.get(STANDARD_INPUT):
        raise UsageError("options --password and --password-stdin", "one password is enough", "leave one of the two out")
    if parsed.get(STANDARD_INPUT):
        given = sys.stdin.read(LARGEST).rstrip("\r\n")
    elif given is None:
        _expect_terminal("--password-stdin")
        from getpass import getpass

        given = getpass("Password: ")
    return plain_text(given, "password")


def _expect_terminal(option: str) -> None:
    if not os.isatty(0):
        raise UsageError("gasang login", "nobody is at a terminal to be asked", f"add {option}")


def run(parsed: Parsed, context: Context) -> int:
    """Ask the registry, and keep what it takes. Raises PermissionDeniedError where it does not, GasangError, OSError."""
    registry = parsed.arguments[0] if parsed.arguments else "docker.io"
    username = parsed.get(USERNAME)
    if username is None:
        _expect_terminal(USERNAME.flag)
        print("User name: ", end="", file=sys.stderr, flush=True)
        username = plain_text(sys.stdin.readline().strip(), "user name")
    password = _password(parsed)
    from gasang.cli.containers.logins import key_of, remember

    body = {"username": username, "password": password, "serveraddress": key_of(registry)}
    connect(context).call("POST", "/auth", body=body)
    kept = remember(registry, username, password)
    print(f"gasang: logged in to {registry}; the password is kept in {kept}", file=sys.stderr)
    return 0
