"""Addresses, dates and numbers nobody sane writes still end in one sentence."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, GasangError, UsageError
from gasang.images.mirror import Mirror, Patience
from gasang.images.release import parse_release
from gasang.images.versions import compare

PATIENCE = Patience(timeout=5.0, attempts=2, pause=lambda seconds: None)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "foo",
        "file:///etc",
        "ftp://h/x",
        "http://",
        "http://[::1",
        "http://a b/",
        "http://h/é",
        f"http://{'a' * 70}.org",
        "http://h/?q",
        "http://h\n/",
    ],
)
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a mirror"):
        Mirror(address)


@pytest.mark.parametrize(
    "address", ["http://deb.debian.org/debian", "https://h:8443/a/b~c/", "http://[::1]:80", "http://127.0.0.1:9/%C3%A9"]
)
def test_addresses_are_taken(address: str) -> None:
    assert Mirror(address).base == address.rstrip("/")


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing is printed."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("target", ["http://[::1", "file:///etc/passwd", "ftp://127.0.0.1:1/passwd", f"http://{'a' * 70}.org/"])
def test_redirections_lead_to_http_or_nowhere(target: str, tmp_path: Path) -> None:
    with redirecting(target) as address, pytest.raises(GasangError) as caught:
        Mirror(address, PATIENCE).small("passwd", 1 << 20)
    assert address in str(caught.value)


@pytest.mark.parametrize("date", ["Sat, 12 Sep 99999999999 07:55:41 UTC", "Sat, 12 Sep 2026 07:55:41 +99999999999999"])
def test_dates_beyond_all_time(date: str) -> None:
    text = f"Codename: trixie\nArchitectures: riscv64\nValid-Until: {date}\nSHA256:\n {'a' * 64} 5 x\n"
    with pytest.raises(BadInputError, match="is none"):
        parse_release(text, "trixie", "release")


@pytest.mark.parametrize("form", ["{}", "{}:1", "1-{}", "1.{}~x"])
def test_numbers_longer_than_python_converts(form: str) -> None:
    small, large = form.format("9" * 4999 + "8"), form.format("9" * 5000)
    assert compare(small, large) < 0 < compare(large, small)
    assert compare(form.format("000" + "9" * 5000), large) == 0
