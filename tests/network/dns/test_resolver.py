"""Who is told what about whom; what is remembered, and for how long."""

from __future__ import annotations

import struct

from gasang.network.dns import message
from gasang.network.dns.directory import Directory
from gasang.network.dns.resolver import Resolver
from gasang.network.spec import Endpoint


def endpoint(machine: str, network: str = "n1", ipv4: str = "10.0.0.2/24", ipv6: str = "", aliases: tuple[str, ...] = ()) -> Endpoint:
    number = f"{machine}-{network}"
    return Endpoint(number, network, machine * 16, "eth0", "gv0", "02:00:00:00:00:01", machine, aliases, ipv4, ipv6)


def asked(name: str, kind: int = message.A, identity: int = 7, klass: int = 1, opcode: int = 0) -> message.Query:
    head = struct.pack(">HHHHHH", identity, 0x0100 | opcode << 11, 1, 0, 0, 0)
    return message.read_query(head + message.encode_name(name) + struct.pack(">HH", kind, klass))


def code_and_addresses(answer: bytes | None) -> tuple[int, list[str]]:
    assert answer is not None
    count = int.from_bytes(answer[6:8], "big")
    found = [".".join(map(str, answer[-4 - 16 * index :][:4])) for index in range(count)]
    return answer[3] & 15, sorted(found)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(*endpoints: Endpoint, internal: bool = False) -> tuple[Directory, Resolver, Clock]:
    directory, clock = Directory(), Clock()
    for each in endpoints:
        directory.add(each, f"net-{each.network}", internal=internal)
    return directory, Resolver(directory, clock), clock


def test_names_aliases_and_ids_are_known_in_any_case() -> None:
    web = endpoint("web", ipv4="10.0.0.3/24", aliases=("www", "site"))
    _, resolver, _ = made(endpoint("one"), web)
    for name in ("web", "WEB", "www", "site", ("web" * 16)[:12], "web" * 16, "web.net-n1", "www.NET-n1"):
        assert code_and_addresses(resolver.ask("one" * 16, asked(name), 512)) == (0, ["10.0.0.3"])


def test_a_name_without_an_address_of_the_kind_is_no_missing_name() -> None:
    _, resolver, _ = made(endpoint("one"), endpoint("web"))
    for kind in (message.AAAA, 15, 16, 65):
        assert code_and_addresses(resolver.ask("one" * 16, asked("web", kind), 512)) == (0, [])


def test_an_alias_of_several_names_them_all() -> None:
    ends = [endpoint(f"w{number}", ipv4=f"10.0.0.{number}/24", aliases=("web",)) for number in range(2, 6)]
    directory, resolver, _ = made(endpoint("one", ipv4="10.0.0.9/24"), *ends)
    assert code_and_addresses(resolver.ask("one" * 16, asked("web"), 512)) == (0, [f"10.0.0.{number}" for number in range(2, 6)])
    directory.remove(ends[0])
    assert code_and_addresses(resolver.ask("one" * 16, asked("web"), 512)) == (0, ["10.0.0.3", "10.0.0.4", "10.0.0.5"])


def test_other_networks_names_are_not_known() -> None:
    _, resolver, _ = made(endpoint("one", "n1"), endpoint("web", "n2"), endpoint("both", "n1"), endpoint("both", "n2"))
    assert resolver.ask("one" * 16, asked("web"), 512) is None
    assert code_and_addresses(resolver.ask("both" * 16, asked("web"), 512)) == (0, ["10.0.0.2"])


def test_addresses_have_names() -> None:
    _, resolver, _ = made(endpoint("one"), endpoint("web", ipv4="10.0.0.3/24"))
    answer = resolver.ask("one" * 16, asked("3.0.0.10.in-addr.arpa", message.PTR), 512)
    assert answer is not None
    assert message.encode_name("web.net-n1") in answer
    assert resolver.ask("one" * 16, asked("4.0.0.10.in-addr.arpa", message.PTR), 512) is None


def test_those_who_left_leave_nothing() -> None:
    ends = [endpoint("one"), endpoint("web", aliases=("www",))]
    directory, resolver, _ = made(*ends)
    for each in (*ends, ends[0]):
        directory.remove(each)
    assert resolver.ask("one" * 16, asked("web"), 512) is None
    assert directory._nets == {}
    assert directory._machines == {}


def test_a_machine_of_internal_networks_only_does_not_ask_outside() -> None:
    _, resolver, _ = made(endpoint("one"), internal=True)
    assert code_and_addresses(resolver.ask("one" * 16, asked("example.org"), 512)) == (message.NO_SUCH_NAME, [])


def test_strange_questions_are_refused() -> None:
    _, resolver, _ = made(endpoint("one"))
    assert code_and_addresses(resolver.ask("one" * 16, asked("a", opcode=5), 512))[0] == message.NOT_IMPLEMENTED
    assert code_and_addresses(resolver.ask("one" * 16, asked("a", klass=3), 512))[0] == message.REFUSED


def test_what_was_learned_is_remembered_for_its_time() -> None:
    _, resolver, clock = made(endpoint("one"))
    query = asked("example.org")
    answer = message.reply(query, 0, [message.address_record("192.0.2.7", 60)])
    resolver.learned(query, answer, message.check_answer(answer, 7, query.question))
    clock.now += 20
    again = resolver.ask("one" * 16, asked("EXAMPLE.org", identity=9), 512)
    assert again is not None
    assert again[:2] == b"\0\x09"
    assert message.check_answer(again, 9, asked("EXAMPLE.org").question).keep == 40
    assert resolver.ask("one" * 16, query, len(answer) - 1) is None
    assert resolver.ask("one" * 16, asked("example.org", message.AAAA), 512) is None
    clock.now += 41
    assert resolver.ask("one" * 16, query, 512) is None


def test_memory_is_bounded() -> None:
    _, resolver, _ = made(endpoint("one"))
    for number in range(3000):
        query = asked(f"h{number}.org")
        answer = message.reply(query, 0, [message.address_record("192.0.2.7", 60)])
        resolver.learned(query, answer, message.check_answer(answer, 7, query.question))
    assert len(resolver._kept) == 2048
    resolver.forget()
    assert resolver.ask("one" * 16, asked("h2999.org"), 512) is None


def test_a_link_is_a_name_for_one_machine_alone() -> None:
    one = endpoint("one")
    linked = Endpoint(**{**{name: getattr(one, name) for name in one.__dataclass_fields__}, "links": ("DB=web", "self=one")})
    directory, resolver, _ = made(linked, endpoint("two", ipv4="10.0.0.4/24"))
    assert resolver.ask("one" * 16, asked("db"), 512) is None
    web = endpoint("web", ipv4="10.0.0.3/24")
    directory.add(web, "net-n1", internal=False)
    for name in ("db", "Db.net-n1", "web"):
        assert code_and_addresses(resolver.ask("one" * 16, asked(name), 512)) == (0, ["10.0.0.3"]), name
    assert resolver.ask("two" * 16, asked("db"), 512) is None
    directory.remove(web)
    directory.add(endpoint("web", ipv4="10.0.0.9/24"), "net-n1", internal=False)
    assert code_and_addresses(resolver.ask("one" * 16, asked("db"), 512)) == (0, ["10.0.0.9"])
    directory.remove(linked)
    assert resolver.ask("one" * 16, asked("db"), 512) is None
