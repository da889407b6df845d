"""Which proxy a URL is asked through, as Go's golang.org/x/net/http/httpproxy has it."""

from __future__ import annotations

import pytest

from dibo.system.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://localhost:5000/", "", True),
        ("http://127.0.0.1:5000/", "", True),
        ("http://127.8.9.10/", "", True),
        ("http://[::1]:5000/", "", True),
        ("http://localhost.example/", "", False),
        ("http://a.example/", "", False),
        ("http://a.example/", "*", True),
        ("http://a.example/", "x, *", True),
        ("http://example.org/", "example.org", True),
        ("http://EXAMPLE.org/", "Example.ORG", True),
        ("http://a.example.org/", "example.org", True),
        ("http://badexample.org/", "example.org", False),
        ("http://example.org/", ".example.org", False),
        ("http://a.example.org/", ".example.org", True),
        ("http://a.example.org/", "*.example.org", True),
        ("http://example.org/", "*.example.org", False),
        ("http://a.example.org:8080/", "example.org:8080", True),
        ("http://a.example.org/", "example.org:8080", False),
        ("http://a.example.org/", "example.org:80", True),
        ("https://a.example.org/", "example.org:443", True),
        ("http://192.0.2.7/", "192.0.2.7", True),
        ("http://192.0.2.7:81/", "192.0.2.7:80", False),
        ("http://192.0.2.7/", "192.0.2.0/24", True),
        ("http://192.0.3.7/", "192.0.2.0/24", False),
        ("http://[2001:db8::7]/", "2001:db8::/32", True),
        ("http://[2001:db8::7]/", "2001:db8::7", True),
        ("http://[2001:db8::7]:81/", "[2001:db8::7]:81", True),
        ("http://a.example/", "192.0.2.0/33,,/", False),
    ],
)
def test_no_proxy(url: str, no_proxy: str, direct: bool) -> None:
    environment = {"http_proxy": PROXY, "https_proxy": PROXY, "no_proxy": no_proxy}
    assert proxy_for(url, environment) == (None if direct else PROXY)


def test_each_scheme_has_a_proxy_of_its_own() -> None:
    environment = {"http_proxy": "plain:1", "HTTPS_PROXY": "http://tls:2"}
    assert proxy_for("http://a.example/", environment) == "http://plain:1"
    assert proxy_for("https://a.example/", environment) == "http://tls:2"
    assert proxy_for("https://a.example/", {"http_proxy": PROXY}) is None
    assert proxy_for("ftp://a.example/", {"ftp_proxy": PROXY}) is None
