"""The default gateway: in WSL's NAT mode, Windows itself. Pure: tables of /proc in, addresses out.

The name server in /etc/resolv.conf, once recommended for this, is WSL's own since DNS tunnelling
is the default (comfyui.md 6), so it is not looked at.
"""

import ipaddress
import struct
from dataclasses import dataclass

UP, GATEWAY = 0x1, 0x2  # flags of a route


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where packets for elsewhere go.

    Attributes:
        address: IPv4 address.
        interface: name of the interface that leads there.
        network: the network that it shares with us (CIDR), empty when the table does not say.
    """

    address: str
    interface: str
    network: str = ""


@dataclass(frozen=True, slots=True)
class _Route:
    interface: str
    network: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address
    flags: int
    metric: int


def default_gateway(table: str) -> Gateway | None:
    """Return the default gateway of the lowest metric, ``None`` when there is none.

    Args:
        table: text of /proc/net/route.
    """
    routes = [route for line in table.splitlines()[1:] if (route := _route(line))]
    ways = [r for r in routes if r.network.prefixlen == 0 and r.flags & GATEWAY and r.flags & UP]
    if not ways:
        return None
    best = min(ways, key=lambda route: route.metric)
    shared = [
        route.network
        for route in routes
        if route.network.prefixlen and route.interface == best.interface
        if best.gateway in route.network
    ]
    return Gateway(str(best.gateway), best.interface, str(shared[0]) if shared else "")


def interfaces(table: str) -> tuple[str, ...]:
    """Return the names of the network interfaces.

    Args:
        table: text of /proc/net/dev.
    """
    return tuple(line.split(":", 1)[0].strip() for line in table.splitlines() if ":" in line)


def _route(line: str) -> _Route | None:
    """Read one line; addresses are hexadecimal, in the byte order of the machine."""
    try:
        name, target, gateway, flags, _, _, metric, mask, *_ = line.split()
        network = ipaddress.IPv4Network((_address(target), str(_address(mask))), strict=False)
        return _Route(name, network, _address(gateway), int(flags, 16), int(metric))
    except (ValueError, struct.error):
        return None


def _address(word: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(struct.pack("=I", int(word, 16)))
