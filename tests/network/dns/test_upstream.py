"""resolv.conf, as hosts have it."""

from __future__ import annotations

from pathlib import Path

from gasang.network.dns.upstream import Resolvers, parse, read, stamp


def test_what_is_read() -> None:
    text = "; no\n# no\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver 10.0.0.4\nnameserver x\nnameserver\n"
    found = parse(text + "domain a\nsearch b c\noptions ndots:2 edns0\noptions rotate\n")
    assert found == Resolvers(("10.0.0.1", "fe80::1%eth0", "::1"), ("b", "c"), ("ndots:2", "edns0", "rotate"))
    assert found.reachable_from_inside == ("10.0.0.1",)


def test_no_file_is_no_resolver(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none")) == Resolvers()
    assert stamp(str(tmp_path / "none")) == (0, 0)


def test_bytes_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\0\nnameserver 10.0.0.1\n")
    assert read(str(tmp_path / "file")).servers == ("10.0.0.1",)
