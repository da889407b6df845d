"""A login to a registry, and the tokens that it gets.

From oras come the tokens (oras.auth), and nothing else; its requests go out through `send`, which follows dibo's rules
and not oras': no redirect takes a login to another origin.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import oras.auth.token
import oras.auth.utils

from dibo.errors import CommandFailed, RegistryError, ToolMissing
from dibo.images.reference import DOCKER_HUB, ImageName
from dibo.images.registry import credentials
from dibo.images.registry.answer import Answer
from dibo.system import process, resources
from dibo.system.retry import TRANSIENT_STATUS, Transient


def answer_challenge(challenge: str, name: ImageName, send: Callable[..., Answer]) -> str:
    """The Authorization header that answers `challenge` (RFC 9110, 11.6.1), or nothing."""
    login = _Login(send)
    login.look_for(name)
    if challenge.lower().startswith("basic"):
        return f"Basic {login.basic}" if login.basic else ""
    asked = oras.auth.utils.parse_auth_header(challenge)
    if not challenge.lower().startswith("bearer") or not asked.realm or "://" not in asked.realm:
        return ""
    token = login.token_for(asked)
    return f"Bearer {token}" if token else ""


class _Login(oras.auth.token.TokenAuth):  # type: ignore[misc]  # oras has no types
    """As oras.auth does it."""

    def __init__(self, send: Callable[..., Answer]) -> None:
        super().__init__()
        self.basic = ""
        self._identity = ""
        self._send = send
        self._tls_verify = True
        self.session = self  # oras asks token servers through it

    def look_for(self, name: ImageName) -> None:
        """Take the first login that is for `name`."""
        keys = credentials.keys(name)
        for path in credentials.files(os.environ, resources.home()):
            logins = credentials.read(path)
            if logins is None:
                continue
            for entry in (logins.auths.get(key) for key in keys):
                if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
                    self._identity = str(entry.get("identitytoken") or "")
                    self._take(str(entry.get("auth") or ""))
                    return
            self._auth_config = {"auths": {}, "credHelpers": logins.helpers, "credsStore": logins.store}
            if self._load_auth(keys[0] if name.host == DOCKER_HUB else name.host):
                self._take(self._basic_auth)
                return

    def _take(self, basic: str) -> None:
        if basic:
            self.basic = self._basic_auth = basic

    def _get_auth_from_creds_store(self, suffix: str, hostname: str) -> str | None:
        argv = [f"docker-credential-{suffix}", "get"]
        try:
            output = process.run(
                argv,
                env=os.environ,
                streams=process.Streams(stdin=hostname.encode()),
                capture=True,
                options=process.ProcessOptions(timeout=30.0),
            ).stdout
            login = json.loads(output)
            name, secret = str(login["Username"]), str(login["Secret"])
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
        query = urlencode(params or {}, doseq=True)
        address = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
        return self._checked(self._send("GET", address, headers, None))

    def request(self, _method: str, url: str, *, params: Any = None, **_: Any) -> Answer:
        return self.get(url, params=params)

    def _checked(self, answer: Answer) -> Answer:
        if answer.status in TRANSIENT_STATUS:
            problem = f"the token server of the registry answered {answer.status}"
            raise Transient(RegistryError(problem, hint="try again later", status=answer.status))
        return answer
