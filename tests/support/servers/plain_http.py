"""Clients of registries that speak plain HTTP to any host, as dibo does to loopback alone."""

from __future__ import annotations

import pytest

from dibo.images.registry import client
from dibo.images.registry.client import Client
from dibo.system.retry import RetryPolicy


def speak_plain_http(monkeypatch: pytest.MonkeyPatch, policy: RetryPolicy) -> None:
    """Let the clients of this test speak plain HTTP, with `policy`; one client for each host, as usual."""
    clients: dict[str, Client] = {}

    def client_of(host: str, _scheme: str, _logins: str) -> Client:
        return clients.setdefault(host, Client(host, plain_http=True, policy=policy))

    monkeypatch.setattr(client, "_client_of", client_of)
