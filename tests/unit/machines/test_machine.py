"""Ports to forward, as they are written."""

from __future__ import annotations

import pytest

from dibo.errors import UsageError
from dibo.machines.machine import PortForward, parse_port


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("80", PortForward(guest=80)),
        ("8080:80", PortForward(guest=80, here=8080)),
        ("0.0.0.0:8080:80", PortForward(guest=80, here=8080, address="0.0.0.0")),
        ("5353:53/udp", PortForward(guest=53, here=5353, protocol="udp")),
    ],
)
def test_forms(text: str, port: PortForward) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", "http", "80:", "1:2:3", "0", "65536", "80/sctp", "8080:80,hostfwd=tcp::1-:2"]
)
def test_other_texts(text: str) -> None:
    with pytest.raises(UsageError):
        parse_port(text)
