"""The door to OCI registries: the only file that uses requests. What is asked through it is dibo.images.registry.api.

Of oras only logins are used (dibo.images.registry.login): its requests repeat nearly every failure five times, sleeping
131 s in all (decorator.py), its uploads read a blob into memory (provider.py, put_upload), its downloads check
no digest, nothing in it has a time-out. Here what may pass (a broken connection, 408, 429, 5xx) is tried again a few
times, what will not (401 after a login, 403, 404) is not.

A login goes to the origin that it was given for, and to the token server that this origin names; what a redirect leads
to gets none, and may ask for none. On loopback a registry is asked over TLS first, then, where it speaks none, in the
clear; elsewhere in the clear only where the name begins with `http://`, or DIBO_PLAIN_HTTP has the host.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from dibo import __version__
from dibo.errors import RegistryError, Unreachable
from dibo.images.reference import DOCKER_HUB, ImageName, on_loopback
from dibo.images.registry.answer import CHUNK, OFFLINE, Answer, Body, cause_of
from dibo.images.registry.login import answer_challenge
from dibo.system.proxies import proxy_for
from dibo.system.retry import (
    DEFAULT_POLICY,
    TRANSIENT_STATUS,
    RetryPolicy,
    Transient,
    pause_before_retry,
    with_retries,
)
from dibo.system.waits import WatchedConnection

__all__ = ["CHUNK", "OFFLINE", "Answer", "Body", "Client", "client", "speaks_plain_http"]

_T = TypeVar("_T")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REDIRECTS: Final = 5
_LOGIN: Final = "check the name; a private repository needs a login (docker login, buildah login)"
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_PROBE_SECONDS: Final = 3.0
"""A server on loopback that speaks TLS shakes hands in this time."""


class _Http(WatchedConnection, HTTPConnection):
    pass


class _Https(WatchedConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(requests.adapters.HTTPAdapter):
    """Connections that a signal ends."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


def client(name: ImageName) -> Client:
    """The client of the registry that has `name`."""
    return _client_of(name.host, name.scheme, os.environ.get("REGISTRY_AUTH_FILE", ""))


def speaks_plain_http(name: ImageName) -> bool:
    """Whether the registry of `name` is asked in the clear. One on loopback is asked for it."""
    return client(name).is_plain


@lru_cache(maxsize=64)
def _client_of(host: str, scheme: str, _logins: str) -> Client:
    named = os.environ.get("DIBO_PLAIN_HTTP", "").replace(",", " ").split()
    if scheme or host in named or not on_loopback(host):
        return Client(host, plain_http=scheme == "http" or (not scheme and host in named))
    return Client(host, plain_http=None)


class Client:
    """A registry, with its connections and tokens. Threads may share it."""

    def __init__(self, host: str, *, plain_http: bool | None, policy: RetryPolicy = DEFAULT_POLICY) -> None:
        """`plain_http` is None where the registry has to be asked whether it speaks TLS."""
        self.host = host
        self.policy = policy
        self._plain = plain_http
        self._probing = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = False  # no login of ~/.netrc; proxies by our own rules
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(pool_maxsize=16))
        own = [os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")]
        bundles = [*own, *(path for path in _BUNDLES if Path(path).exists())]
        self._verify: str | bool = next((path for path in bundles if path), True)
        self._granted: dict[tuple[str, str], str] = {}
        """The Authorization header by (repository, what for)."""

    @property
    def is_plain(self) -> bool:
        """Whether requests go in the clear."""
        with self._probing:
            if self._plain is None:
                self._plain = self._lacks_tls()
            return bool(self._plain)

    @property
    def base(self) -> str:
        address = "registry-1.docker.io" if self.host == DOCKER_HUB else self.host
        return f"{'http' if self.is_plain else 'https'}://{address}/v2/"

    def _lacks_tls(self) -> bool:
        """Whether the server, on loopback, does not shake hands. A certificate that does not hold is TLS, too."""
        try:
            self._request("GET", f"https://{self.host}/v2/", {}, timeout=_PROBE_SECONDS).close()
        except (requests.RequestException, HTTPError, OSError) as error:
            return not any(isinstance(reason, ssl.SSLCertVerificationError) for reason in _reasons(error))
        return False

    def with_retries(self, once: Callable[[], _T]) -> _T:
        """`once`, and again while it raises Transient and the policy lasts."""
        return with_retries(once, self.policy)

    def pause(self, transient: Transient, failures: int) -> None:
        """Wait before the next try, or raise the error after so many `failures` before."""
        pause_before_retry(transient, failures, self.policy)

    def ask(
        self,
        method: str,
        name: ImageName,
        path: str,
        *,
        fine: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
    ) -> Answer:
        """One answer whose status is one of `fine`, after a login where one is required. `path` is one of the
        repository's, or a whole address. Raises Transient beside the errors."""
        url = path if "://" in path else f"{self.base}{name.repository}/{path}"
        action = "pull" if method in ("GET", "HEAD") else "delete" if method == "DELETE" else "push"
        scope = (name.repository, action)
        answer = self._send(method, url, headers, body, scope)
        if answer.status == 401 and self._is_ours(answer.url):
            answer.close()
            if granted := self._log_in(answer.header("WWW-Authenticate"), name):
                self._granted[scope] = granted
                answer = self._send(method, url, headers, body, scope)
        if answer.status not in fine:
            with answer:
                raise self._refused(answer, name)
        return answer

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | Body | Mapping[str, str] | None,
        scope: tuple[str, str] | None,
    ) -> Answer:
        """One request, with what was granted for `scope` while it stays with our origin, and where it is sent on to.
        Headers and forms with a login are sent to no other origin."""
        sent = {"User-Agent": f"dibo/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        origin = urlsplit(url)[:2]
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_address(url)
            granted = self._granted.get(scope, "") if scope is not None and self._is_ours(url) else ""
            own = {**sent, **({"Authorization": granted} if granted else {})}
            try:
                response = self._request(method, url, own, body=body)
            except (requests.RequestException, HTTPError, OSError) as error:
                raise self._broken(error) from error
            except ValueError as error:  # requests takes a Location apart, too
                raise self._no_address(str(error)) from error
            follows = method in ("GET", "HEAD") or response.status_code in (307, 308)
            if response.status_code not in _REDIRECTS or "Location" not in response.headers or not follows:
                return Answer(response, self.policy)
            response.close()
            url = self._joined(url, response.headers["Location"])
            if urlsplit(url)[:2] != origin:
                sent.pop("Authorization", None)
                if isinstance(body, Mapping):
                    raise RegistryError(
                        f"the token server of registry {self.host} sends a login on to {urlsplit(url).netloc}",
                        hint="dibo sends no login there; report it to the operator of the registry",
                    )
        raise RegistryError(f"registry {self.host} sends from one address to the next without end")

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], *, body: Any = None, timeout: float = 0
    ) -> requests.Response:
        proxy = proxy_for(url, os.environ)
        return self._session.request(
            method,
            url,
            headers=dict(headers),
            data=body,
            stream=True,
            allow_redirects=False,
            timeout=(timeout, timeout) if timeout else (self.policy.connect, self.policy.read),
            verify=self._verify,
            proxies={urlsplit(url).scheme: proxy} if proxy else {},
        )

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _joined(self, base: str, location: str) -> str:
        try:
            url = urljoin(base, location)
            _ = urlsplit(url).port
        except ValueError:
            raise self._no_address(repr(location[:80])) from None
        return url

    def _no_address(self, problem: str) -> RegistryError:
        return RegistryError(
            f"registry {self.host} sends to what is no address: {problem}",
            hint="report it to the operator of the registry",
        )

    def _check_address(self, url: str) -> None:
        """No way from TLS to plain HTTP, nor from outside into this machine."""
        parts = urlsplit(url)
        inside, here = on_loopback(parts.netloc), on_loopback(self.host)
        near = parts.netloc == urlsplit(self.base).netloc or (inside and here)
        allowed = parts.scheme == "https" or (parts.scheme == "http" and self.is_plain and near)
        if not allowed or "@" in parts.netloc or (inside and not here):
            raise RegistryError(
                f"registry {self.host} sends to {parts.scheme}://{parts.netloc}, where dibo does not follow",
                hint="a registry may redirect only to https addresses outside this machine; report it to its operator",
            )

    def place_of(self, location: str, name: ImageName) -> str:
        """Where to upload to, as an address. Registries behind a proxy that ends TLS may name themselves by http."""
        url = self._joined(f"{self.base}{name.repository}/blobs/uploads/", location)
        if urlsplit(url).netloc == urlsplit(self.base).netloc:
            return urlsplit(url)._replace(scheme=urlsplit(self.base).scheme).geturl()
        return url

    def _log_in(self, challenge: str, name: ImageName) -> str:
        return answer_challenge(
            challenge, name, lambda method, url, headers, body: self._send(method, url, headers, body, None)
        )

    def _broken(self, error: Exception) -> Exception:
        if isinstance(error, requests.exceptions.SSLError):
            return RegistryError(
                f"the certificate of registry {self.host} does not hold: {cause_of(error)}",
                hint="check the clock and the address; SSL_CERT_FILE names a file with further authorities",
            )
        unreachable = Unreachable(
            f"registry {self.host} cannot be reached: {cause_of(error)}", hint=OFFLINE
        )  # who is slow once is slow again
        return unreachable if isinstance(error, requests.Timeout) else Transient(unreachable)

    def _refused(self, answer: Answer, name: ImageName) -> Exception:
        hint = "check the name and the tag" if answer.status == 404 else _LOGIN
        error = RegistryError(
            f"registry {self.host} answered {answer.status} for {name}{_reason(answer)}",
            hint=hint,
            status=answer.status,
        )
        if answer.status not in TRANSIENT_STATUS:
            return error
        error.hint = "try again later"
        after = answer.header("Retry-After")
        return Transient(error, float(after) if after.isdecimal() else 0.0)


def _reason(answer: Answer) -> str:
    """What the registry says (distribution specification, error codes)."""
    with contextlib.suppress(Transient, Unreachable):
        errors = answer.json().get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            text = str(errors[0].get("message") or errors[0].get("code") or "")
            return f": {''.join(c for c in text if c.isprintable())[:200]}" if text else ""
    return ""


def _reasons(error: BaseException) -> list[BaseException]:
    """All that an error was made of."""
    waiting, chain = [error], list[BaseException]()
    while waiting:
        reason = waiting.pop()
        if reason not in chain:
            chain.append(reason)
            inner = [getattr(reason, "reason", None), *reason.args, reason.__cause__, reason.__context__]
            waiting += [exception for exception in inner if isinstance(exception, BaseException)]
    return chain
