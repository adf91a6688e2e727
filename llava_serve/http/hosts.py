"""Host names and IP addresses: which of them are this machine alone."""

import ipaddress

_HOME_NETWORK = 64  # bits


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that `host` is, if it is one and no name.

    On a socket for both versions an IPv4 address arrives as `::ffff:1.2.3.4`: it is returned as
    IPv4.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(address: str) -> str:
    """Return whose an address is: of IPv6 its network, for one home or server has all of that."""
    ip = ip_of(address)
    if ip is None or ip.version == 4:
        return str(ip or address)
    return str(ipaddress.ip_network((ip, _HOME_NETWORK), strict=False))


def address_here(host: str, port: int, scheme: str = "http") -> str:
    """Return the address at which this machine reaches what listens at `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens at `host`."""
    address = ip_of(host)
    return address.is_loopback if address else host == "localhost"
