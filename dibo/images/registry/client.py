"""The door to OCI registries: the only file that uses oras and requests. What is asked through it is
dibo.images.registry.api.

From oras come logins and tokens (oras.auth), and nothing else: its requests repeat nearly every failure five times,
sleeping 131 s in all (decorator.py), its uploads read a blob into memory (provider.py, put_upload), its downloads check
no digest, nothing in it has a time-out. Here what may pass (a broken connection, 408, 429, 5xx) is tried again a few
times, what will not (401 after a login, 403, 404) is not.

Credentials go to the registry's own origin and to the token server it names, over TLS; never along a redirect. Plain
HTTP is for the loopback interface, as with other tools for containers.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import oras.auth.token
import oras.auth.utils
import requests
import requests.adapters
from urllib3.exceptions import HTTPError

from dibo import __version__
from dibo.errors import CommandFailed, RegistryError, ToolMissing, Unreachable
from dibo.images.image import Reader
from dibo.images.reference import DOCKER_HUB, ImageName, on_loopback
from dibo.images.registry import credentials
from dibo.system import process, resources
from dibo.system.retry import PATIENCE, Passing, Patience

_T = TypeVar("_T")
CHUNK: Final = 1 << 20
_PASSING_STATUS: Final = (408, 429, 500, 502, 503, 504)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
OFFLINE: Final = "check the network, the name of the registry, and the proxies (https_proxy, no_proxy)"
_LOGIN: Final = "check the name; a private repository wants a login (docker login, buildah login)"
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What to send: `size` bytes, opened once for each try."""

    source: Callable[[], AbstractContextManager[Reader]]
    size: int

    @property
    def len(self) -> int:
        """What requests asks for the Content-Length."""
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        with self.source() as stream:
            while left and (piece := stream.read(min(CHUNK, left))):
                left -= len(piece)
                yield piece
        if left:
            raise RegistryError(f"what was to be sent ended {left} bytes early")


class Answer:
    """A response whose body is read here, and whose faults are Passing."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = self.status_code = response.status_code
        self.text = ""  # oras writes it into its log

    def header(self, name: str) -> str:
        return str(self._response.headers.get(name, ""))

    @property
    def following(self) -> str:
        """The address of the next page, or nothing (RFC 8288)."""
        return str(self._response.links.get("next", {}).get("url", ""))

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes as they are stored. Raises Passing when the connection breaks."""
        try:
            return bytes(self._response.raw.read(size))
        except (HTTPError, OSError) as error:
            self.close()
            host = urlsplit(self._response.url).netloc
            raise Passing(Unreachable(f"{host} broke off: {_cause(error)}", hint=OFFLINE)) from error

    def whole(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes."""
        pieces = []
        while limit > 0 and (piece := self.read(limit)):
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)

    def json(self) -> dict[str, Any]:
        """A body of at most 16 MiB; empty when it is no JSON object."""
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(self.whole(16 << 20))
            if isinstance(found, dict):
                return found
        return {}

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def client(name: ImageName) -> Client:
    """The client of the registry that has `name`."""
    return _client_of(name.host, os.environ.get("REGISTRY_AUTH_FILE", ""))


def speaks_plain_http(host: str) -> bool:
    """Whether a registry is asked by plain HTTP: on loopback, or when DIBO_PLAIN_HTTP names it, `HOST[:PORT],…`."""
    named = os.environ.get("DIBO_PLAIN_HTTP", "").replace(",", " ").split()
    return on_loopback(host) or host in named


@lru_cache(maxsize=64)
def _client_of(host: str, _logins: str) -> Client:
    return Client(host, plain_http=speaks_plain_http(host))


class Client:
    """A registry, with its connections and tokens. Threads may share it."""

    def __init__(self, host: str, *, plain_http: bool, patience: Patience = PATIENCE) -> None:
        self.host = host
        self.patience = patience
        self._plain = plain_http
        address = "registry-1.docker.io" if host == DOCKER_HUB else host
        self.base = f"{'http' if plain_http else 'https'}://{address}/v2/"
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else requests sends what ~/.netrc has, to anybody
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=16))
        own = [os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")]
        bundles = [*own, *(path for path in _BUNDLES if Path(path).exists())]
        self._verify: str | bool = next((path for path in bundles if path), True)
        self._granted: dict[tuple[str, str], str] = {}
        """The Authorization header by (repository, what for)."""

    def patiently(self, once: Callable[[], _T]) -> _T:
        """`once`, and again while it raises Passing and patience lasts."""
        for tried in range(1000):
            try:
                return once()
            except Passing as passing:
                self.pause(passing, tried)
        raise AssertionError("patience has no end")

    def pause(self, passing: Passing, tried: int) -> None:
        """Wait before the next try, or raise the error when `tried` times were enough."""
        pauses = self.patience.pauses
        if tried >= len(pauses) or passing.wait > self.patience.longest_wait:
            raise passing.error from passing
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - so that runners do not come back in step
        self.patience.sleep(max(passing.wait, pauses[tried] * jitter))

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
        """One answer whose status is one of `fine`, after a login where one is wanted. `path` is one of the
        repository's, or a whole address. Raises Passing beside the errors."""
        url = path if "://" in path else f"{self.base}{name.repository}/{path}"
        scope = (
            name.repository,
            "pull" if method in ("GET", "HEAD") else "delete" if method == "DELETE" else "push",
        )
        answer = self._send(method, url, headers, body, scope)
        if answer.status == 401 and self._is_ours(url):
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
        """One request, with what was granted for `scope` while it stays with our origin, and where it is sent on to."""
        sent = {"User-Agent": f"dibo/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        for _ in range(6):
            self._check_address(url)
            granted = self._granted.get(scope, "") if scope is not None and self._is_ours(url) else ""
            try:
                response = self._session.request(
                    method,
                    url,
                    headers={**sent, **({"Authorization": granted} if granted else {})},
                    data=body,
                    stream=True,
                    allow_redirects=False,
                    timeout=(self.patience.connect, self.patience.read),
                    verify=self._verify,
                )
            except (requests.RequestException, HTTPError, OSError) as error:
                raise self._broken(error) from error
            kept = method in ("GET", "HEAD") or response.status_code in (307, 308)
            if response.status_code not in _REDIRECTS or "Location" not in response.headers or not kept:
                return Answer(response)
            response.close()
            url = urljoin(url, response.headers["Location"])
            sent.pop("Authorization", None)
        raise RegistryError(f"registry {self.host} sends from one address to the next without end")

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _check_address(self, url: str) -> None:
        """No way from TLS to plain HTTP, nor from outside into this machine."""
        parts = urlsplit(url)
        inside, here = on_loopback(parts.netloc), on_loopback(self.host)
        near = parts.netloc == urlsplit(self.base).netloc or (inside and here)
        allowed = parts.scheme == "https" or (parts.scheme == "http" and self._plain and near)
        if not allowed or "@" in parts.netloc or (inside and not here):
            raise RegistryError(
                f"registry {self.host} sends to {parts.scheme}://{parts.netloc}, where dibo does not follow",
                hint="a registry may name https addresses outside this machine only; tell whoever runs it",
            )

    def place_of(self, location: str, name: ImageName) -> str:
        """Where to upload to, as an address. Registries behind a proxy that ends TLS may name themselves by http."""
        url = urljoin(f"{self.base}{name.repository}/blobs/uploads/", location)
        if urlsplit(url).netloc == urlsplit(self.base).netloc:
            return urlsplit(url)._replace(scheme=urlsplit(self.base).scheme).geturl()
        return url

    def _log_in(self, challenge: str, name: ImageName) -> str:
        """The Authorization header that answers `challenge` (RFC 9110, 11.6.1), or nothing."""
        login = _Login(lambda method, url, headers, body: self._send(method, url, headers, body, None))
        login.look_for(name)
        if challenge.lower().startswith("basic"):
            return f"Basic {login.basic}" if login.basic else ""
        asked = oras.auth.utils.parse_auth_header(challenge)
        if not challenge.lower().startswith("bearer") or not asked.realm or "://" not in asked.realm:
            return ""
        token = login.token_for(asked)
        return f"Bearer {token}" if token else ""

    def _broken(self, error: Exception) -> Exception:
        if isinstance(error, requests.exceptions.SSLError):
            return RegistryError(
                f"the certificate of registry {self.host} does not hold: {_cause(error)}",
                hint="check the clock and the address; SSL_CERT_FILE names a file with further authorities",
            )
        found = Unreachable(f"registry {self.host} cannot be reached: {_cause(error)}", hint=OFFLINE)
        return (
            found if isinstance(error, requests.Timeout) else Passing(found)
        )  # who is slow once is slow again

    def _refused(self, answer: Answer, name: ImageName) -> Exception:
        hint = "check the name and the tag" if answer.status == 404 else _LOGIN
        error = RegistryError(
            f"registry {self.host} answered {answer.status} for {name}{_reason(answer)}",
            hint=hint,
            status=answer.status,
        )
        if answer.status not in _PASSING_STATUS:
            return error
        error.hint = "try again later"
        after = answer.header("Retry-After")
        return Passing(error, float(after) if after.isdigit() else 0.0)


class _Login(oras.auth.token.TokenAuth):  # type: ignore[misc]  # oras has no types
    """A login and the tokens it gets, as oras.auth does it, over requests that follow our rules."""

    def __init__(self, send: Callable[..., Answer]) -> None:
        super().__init__()
        self.basic = ""
        self._identity = ""
        self._send = send
        self._tls_verify = True
        self.session = self  # oras asks token servers through it

    def look_for(self, name: ImageName) -> None:
        """Take the first login that is for `name`."""
        wanted = credentials.keys(name)
        for path in credentials.files(os.environ, resources.home()):
            logins = credentials.read(path)
            if logins is None:
                continue
            for entry in (logins.auths.get(key) for key in wanted):
                if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
                    self._identity = str(entry.get("identitytoken") or "")
                    self._take(str(entry.get("auth") or ""))
                    return
            self._auth_config = {"auths": {}, "credHelpers": logins.helpers, "credsStore": logins.store}
            if self._load_auth(wanted[0] if name.host == DOCKER_HUB else name.host):
                self._take(self._basic_auth)
                return

    def _take(self, basic: str) -> None:
        if basic:
            self.basic = self._basic_auth = basic

    def _get_auth_from_creds_store(self, suffix: str, hostname: str) -> str | None:
        argv = [f"docker-credential-{suffix}", "get"]
        try:
            said = process.run(
                argv, env=os.environ, stdin=hostname.encode(), capture=True, timeout=30.0
            ).stdout
            found = json.loads(said)
            name, secret = str(found["Username"]), str(found["Secret"])
        except (CommandFailed, ToolMissing, ValueError, KeyError, TypeError):
            return None
        if name == "<token>":  # docker-credential-helpers: the secret is an identity token
            self._identity = secret
        return base64.b64encode(f"{name}:{secret}".encode()).decode()

    def token_for(self, asked: Any) -> str:
        """A token for what a challenge asks (https://distribution.github.io/distribution/spec/auth/token/)."""
        if self._identity:
            form = {"grant_type": "refresh_token", "refresh_token": self._identity, "client_id": "dibo"}
            form |= {"service": asked.service or "", "scope": asked.scope or ""}
            with self._checked(self._send("POST", asked.realm, {}, form)) as answer:
                return str(answer.json().get("access_token") or "") if answer.status == 200 else ""
        return str((self.request_token if self.basic else self.request_anonymous_token)(asked) or "")

    def get(self, url: str, *, headers: Any = None, params: Any = None, **_: Any) -> Answer:
        address = requests.Request("GET", url, params=params).prepare().url
        return self._checked(self._send("GET", address, headers, None))

    def request(self, _method: str, url: str, *, params: Any = None, **_: Any) -> Answer:
        return self.get(url, params=params)

    def _checked(self, answer: Answer) -> Answer:
        if answer.status in _PASSING_STATUS:
            what = f"the token server of the registry answered {answer.status}"
            raise Passing(RegistryError(what, hint="try again later", status=answer.status))
        return answer


def _reason(answer: Answer) -> str:
    """What the registry says (distribution specification, error codes)."""
    with contextlib.suppress(Passing):
        errors = answer.json().get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            text = str(errors[0].get("message") or errors[0].get("code") or "")
            return f": {''.join(c for c in text if c.isprintable())[:200]}" if text else ""
    return ""


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times, and say where in memory they are."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        inner = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        found = next((each for each in inner if isinstance(each, BaseException)), None)
    for each in seen:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return str(seen[-1]) or type(seen[-1]).__name__
