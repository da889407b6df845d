"""Which proxy a URL is asked through, by the rules of Go's programs, which podman, docker and skopeo follow.

golang.org/x/net/http/httpproxy: `https_proxy` and `http_proxy`, also in capitals, for URLs of each scheme; no proxy for
`localhost` and addresses of the loopback interface, and none for what `no_proxy` names, separated by commas:

    *                          everything
    192.0.2.7, 2001:db8::/32   an address, or a network of them
    example.org                the host, and all below it
    .example.org, *.example.org  all below it, not itself
    example.org:8080           the same, at that port only
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

_PORTS: Final = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The URL of the proxy, None where there is none. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    proxy = _variable(environment, f"{parts.scheme}_proxy") if parts.scheme in _PORTS else ""
    if not proxy or _is_loopback(host):
        return None
    entries = _variable(environment, "no_proxy").split(",")
    if any(_matches(entry.strip().lower(), host, port) for entry in entries):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name = entry
    if _address(entry) is None:  # else its colons are an address's own
        name, colon, digits = entry.rpartition(":")
        if not colon:
            name = entry
        elif digits != str(port):
            return False
    if (exact := _address(name)) is not None:
        return exact == address
    below = name.removeprefix("*")
    if below.startswith("."):
        return host.endswith(below)
    return host == below or host.endswith(f".{below}")


def split_login(url: str) -> tuple[str, str | None]:
    """An address as it may be shown, and the value of the header `Authorization` for the login in it (RFC 7617); None
    where it has none."""
    parts = urlsplit(url)
    if not parts.username:
        return url, None
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return shown, f"Basic {base64.b64encode(login.encode()).decode()}"
