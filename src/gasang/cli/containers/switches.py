"""``gasang network switch``: a switch in user space, at which virtual machines meet without any privilege."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gasang.cli.containers.family import Local
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.settings import Context

if TYPE_CHECKING:
    from gasang.network.switch.vxlan import Vxlan

BANDWIDTH = value("bandwidth", "RATE", "bits a second of each machine, each way, such as 100M", plain_text)
LATENCY = value("latency", "TIME", "how long a frame is on its way to a machine, such as 20ms", plain_text)
LOSS = value("loss", "SHARE", "how many of the frames that a machine sends are lost, such as 0.5%", plain_text)
VLAN = value("vlan", "NUMBER", "the VLAN they are in, without tags", plain_text)
VXLAN = value("vxlan", "NUMBER", "one network with switches of other hosts, by VXLAN of that number", plain_text)
PEERS = values("peer", "ADDRESS[:PORT]", "another host of it", plain_text)
VXLAN_PORT = value("vxlan-port", "PORT", "where hosts hear each other, of UDP (default: 4789)", plain_text)
ISOLATED = switch("isolated", "machines do not reach each other")


def _run(parsed: Parsed, _context: Context) -> int:
    from gasang.network import limits
    from gasang.network.switch.door import Door
    from gasang.network.switch.ports import Allowed

    rate, late, lost, vlan = (parsed.get(option) for option in (BANDWIDTH, LATENCY, LOSS, VLAN))
    bits = limits.rate(rate) if rate else 0
    allowed = Allowed(
        vlan=limits.vlan(vlan) if vlan else 0,
        isolated=parsed.get(ISOLATED),
        rate_in=bits,
        rate_out=bits,
        latency=limits.delay(late) * 1e-6 if late else 0.0,
        loss=limits.share(lost) if lost else 0,
    )
    tunnel = _tunnel(parsed)
    door = Door(parsed.arguments[0], allowed, lambda words: print(f"gasang: {words}", file=sys.stderr, flush=True), tunnel)
    print(f"gasang: the switch is at {parsed.arguments[0]}; Ctrl-C ends it", file=sys.stderr, flush=True)
    try:
        door.serve()
    except KeyboardInterrupt:
        return 0
    finally:
        door.close()
    return 0


def _tunnel(parsed: Parsed) -> Vxlan | None:
    """Raises UsageError."""
    from gasang.network import overlay

    said = {overlay.VXLAN: parsed.get(VXLAN), overlay.PEERS: ",".join(parsed.get(PEERS)), overlay.VXLAN_PORT: parsed.get(VXLAN_PORT)}
    return overlay.vxlan_of({name: text for name, text in said.items() if text})


SWITCH = Local(
    Syntax(
        "Join virtual machines in the foreground to each other, without any privilege, until Ctrl-C.",
        options=(ISOLATED, VLAN, BANDWIDTH, LATENCY, LOSS, VXLAN, PEERS, VXLAN_PORT),
        arguments=(Argument("SOCKET", "a path, where it is to be reached"),),
        examples=(
            Example("gasang network switch /tmp/lan", "then, beside it, as many machines as wanted:"),
            Example("gasang run --vm --network name=switch:/tmp/lan,ip=10.9.0.2/24 debian:trixie", "one of them"),
            Example("gasang network switch --vxlan 42 --peer 192.0.2.7 /tmp/lan", "with the machines at a switch of that host"),
        ),
    ),
    _run,
)
