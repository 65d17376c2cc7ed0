"""Client addresses as keys: one per subscriber, however a proxy formats them."""

import re
from ipaddress import IPv6Address, ip_address

from flask import request

# A proxy may append the port, and put the address in brackets.
_HOST_AND_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([^:]*):\d*")

UNKNOWN = "unknown"  # shared by all clients without an address, as on a UNIX socket


def client_subscriber() -> str:
    """Return the client's subscriber, or the proxy's if its header holds no address."""
    believed: str = request.environ.get("REMOTE_ADDR", "")
    peer: str = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR", "")
    return subscriber(believed) or subscriber(peer) or UNKNOWN


def subscriber(text: str) -> str | None:
    """Return the network of one subscriber: an IPv4 address or an IPv6 /64. None for other text."""
    text = text.strip()
    if found := _HOST_AND_PORT.fullmatch(text):
        text = found[1] if found[1] is not None else found[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"  # without the zone, which the client chooses
    return str(address)
