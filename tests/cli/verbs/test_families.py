"""The families of commands, and putting away what nobody uses, against a daemon that says what the test told it to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gasang.cli import main as command
from gasang.cli.containers.family import Apart, here, resolved
from gasang.cli.verbs import image
from support.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    from conftest import Person

USAGE: dict[str, Any] = {
    "LayersSize": 1000,
    "Images": [
        {"Id": "sha256:1", "RepoTags": ["a:1"], "Containers": 1, "Size": 700},
        {"Id": "sha256:2", "RepoTags": [], "Containers": 0, "Size": 1200},
    ],
    "Containers": [
        {"Names": ["/up"], "State": "running", "SizeRw": 10},
        {"Names": ["/over"], "State": "exited", "SizeRw": 20},
        {"Names": ["/new"], "State": "created"},
    ],
    "Volumes": [{"Name": "v", "UsageData": {"Size": 5, "RefCount": 0}}],
    "BuildCache": [],
    "BuilderSize": 0,
}


@pytest.mark.parametrize(
    ("words", "request_", "query", "answer", "names"),
    [
        (["container", "prune"], "POST /containers/prune", {}, {"ContainersDeleted": ["1", "2"], "SpaceReclaimed": 3}, "1\n2\n"),
        (["network", "prune"], "POST /networks/prune", {}, {"NetworksDeleted": None}, ""),
        (["volume", "prune", "--filter", "label=a"], "POST /volumes/prune", {"label": ["a"]}, {"VolumesDeleted": ["v"]}, "v\n"),
        (["volume", "prune", "-a"], "POST /volumes/prune", {"all": ["true"]}, {"VolumesDeleted": []}, ""),
        (["image", "prune", "-a"], "POST /images/prune", {"dangling": ["false"]},
         {"ImagesDeleted": [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}]}, "a:1\nsha256:1\n"),
        (["builder", "prune"], "POST /build/prune", {}, {"CachesDeleted": None}, ""),
    ],
)  # fmt: skip
def test_prune(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], request_: str, query: dict[str, Any], answer: Any, names: str
) -> None:
    daemon.tells(request_, answer)
    assert command.main([*words, "--force"]) == 0
    assert capsys.readouterr().out == names
    assert [json.loads(text) for text in daemon.asked[0].query.get("filters", ["{}"])] == [query]


def test_nothing_is_removed_unasked(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["image", "prune"]) == 2
    assert "gasang image prune: it asks before it removes, and nobody is at a terminal; add --force" in capsys.readouterr().err
    assert daemon.asked == []


@pytest.mark.parametrize(("answer", "asked"), [(b"y\n", 1), (b"n\n", 0), (b"\n", 0), (b"\x04", 0)])
def test_a_person_is_asked(daemon: FakeDaemon, in_terminal: Callable[..., Person], answer: bytes, asked: int) -> None:
    daemon.tells("POST /images/prune", {"ImagesDeleted": None, "SpaceReclaimed": 0})
    person = in_terminal("from gasang.cli.main import main; main(['image', 'prune', '-a'])")
    person.reads_until(b"this removes all images nobody uses; go on? [y/N] ")
    person.types(answer)
    assert person.exit_code() == 0
    assert len(daemon.asked) == asked


def test_everything_is_put_away_in_an_order_that_frees_the_next(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/prune", {"ContainersDeleted": ["c"], "SpaceReclaimed": 1024})
    daemon.tells("POST /networks/prune", {"NetworksDeleted": ["n"]})
    daemon.tells("POST /volumes/prune", {"VolumesDeleted": ["v"], "SpaceReclaimed": 1024})
    daemon.tells("POST /images/prune", {"ImagesDeleted": [{"Deleted": "i"}], "SpaceReclaimed": 1024})
    daemon.tells("POST /build/prune", {"CachesDeleted": None})
    assert command.main(["system", "prune", "-af", "--volumes", "--format", "{kind} {name}"]) == 0
    said = capsys.readouterr()
    assert said.out == "container c\nnetwork n\nvolume v\nimage i\n"
    assert said.err == "gasang: 3 KiB are free again\n"
    assert [one.path for one in daemon.asked] == [f"/{what}/prune" for what in ("containers", "networks", "volumes", "images", "build")]
    assert command.main(["system", "prune", "-f"]) == 0
    assert len(daemon.of("POST /volumes/prune")) == 1
    assert daemon.of("POST /images/prune")[1].query == {}


def test_what_takes_the_disk(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /system/df", USAGE)
    assert command.main(["system", "df", "--format", "json"]) == 0
    rows = {row.pop("kind"): tuple(row.values()) for row in json.loads(capsys.readouterr().out)}
    assert rows == {"image": (2, 1, 1000, 1000), "container": (3, 1, 30, 20), "volume": (1, 0, 5, 5), "build": (0, 0, 0, 0)}
    assert command.main(["system", "df", "-v"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "KIND", "USERS", "SIZE"], ["a:1", "image", "1", "700", "B"], ["sha256:2", "image", "0", "1.2", "KiB"],
        ["up", "container", "1", "10", "B"], ["over", "container", "0", "20", "B"], ["new", "container", "0", "0", "B"],
        ["v", "volume", "0", "5", "B"],
    ]  # fmt: skip


def test_a_verb_under_the_name_of_a_family(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /containers/json", [])
    daemon.tells("GET /images/x/json", {"Id": "1"})
    assert command.main(["container", "ls", "-aq"]) == 0
    assert command.main(["image", "inspect", "x", "--format", "{Id}", "--progress", "none"]) == 0
    assert capsys.readouterr().out == "1\n"
    assert command.main(["container", "rnu"]) == 2
    assert "command 'rnu': there is no such command; did you mean run?" in capsys.readouterr().err
    assert command.main(["system"]) == 2
    assert "the command is missing; use one of df, prune, info, events" in capsys.readouterr().err


def test_a_wrong_word_is_told_with_the_family(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["network", "create", "--frob", "a"]) == 2
    assert "option --frob: gasang network create has no such option" in capsys.readouterr().err


def test_what_the_daemon_has_chosen_is_told(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /networks/create", {"Id": "n1", "Warning": "on a switch"})
    assert command.main(["network", "create", "--latency", "20ms", "far"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("n1\n", "gasang: on a switch\n")


def test_networks_with_pools(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /networks/create", {"Id": "n1"})
    words = [
        "--subnet",
        "10.5.0.0/16",
        "--subnet",
        "fd00::/64",
        "--ip-range",
        "10.5.1.0/24",
        "--gateway",
        "10.5.0.1",
        "--ipv6",
        "-o",
        "a=b",
    ]
    assert command.main(["network", "create", *words, "app"]) == 0
    body = daemon.asked[0].document
    assert body["IPAM"]["Config"] == [{"Subnet": "10.5.0.0/16", "IPRange": "10.5.1.0/24", "Gateway": "10.5.0.1"}, {"Subnet": "fd00::/64"}]
    assert (body["EnableIPv6"], body["Options"], body["Driver"]) == (True, {"a": "b"}, "")
    assert command.main(["network", "create", "--gateway", "1.1.1.1", "--gateway", "2.2.2.2", "app"]) == 2
    assert "there are more of them than subnets" in capsys.readouterr().err


def test_what_is_said_of_a_command_apart_is_what_it_says_itself() -> None:
    apart = {name: each for name, each in image.COMMANDS.items() if isinstance(each, Apart)}
    assert apart.keys() == {"import", "export", "prune"}
    for name, each in apart.items():
        assert each.summary == resolved(each, name)[0].summary
        assert not isinstance(here(each, name), Apart)
