"""Which network addresses a request may make this machine connect to: public ones only."""

import ipaddress
from collections.abc import Callable

IsAllowed = Callable[[str], bool]  # an IP address in text

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # the last 32 bits are an IPv4 address
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # where they stand is the operator's choice


def is_public(address: str) -> bool:
    """Whether the address, and every IPv4 address packed into it, belongs to the public internet.

    Source: IANA special-purpose address registries (as `ipaddress` has them); RFC 6052, RFC 8215.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # an address with a zone, for one: never public
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return _is_global(ip)
    if ip.ipv4_mapped is not None:
        return _is_global(ip.ipv4_mapped)
    if ip in _NAT64:
        return _is_global(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    packed = [ip.sixtofour, *(ip.teredo or ())]
    return (
        _is_global(ip)
        and not ip.is_site_local
        and ip not in _LOCAL_NAT64
        and all(_is_global(inner) for inner in packed if inner is not None)
    )


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
