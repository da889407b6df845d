"""What no layer may take along when it leaves this machine: a look at its tar as it goes by.

Flavours that install secrets say so (`local: true`), and their layers stay. This is for those that forgot. It looks at
names first, and reads only files that are small enough to be a secret:

    private keys      any file that begins with a PEM or PuTTY header, outside /usr/{lib,share,src}, where packages
                      keep test keys that everybody has
    logins            authorized_keys, .netrc, .git-credentials, .aws/credentials, apt's auth.conf, docker's
                      config.json and podman's auth.json with an `auth` in it
    password hashes   in /etc/shadow and its kin: crypt(5), whether or not the account is locked
    identities        SSH host keys and machine-id, in a base, which may have been a machine. In later layers packages
                      make them while they are installed; the last step takes them out, and no machine has them

The tar is what an engine writes: ustar headers, PAX names, GNU long names (POSIX pax; GNU tar manual, "Standard").
What cannot be read as one is held back too.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import Final

_BLOCK: Final = 512
_SMALL: Final = 256 << 10
_META: Final = b"xgLK"  # headers that belong to the entry after them
_KEY: Final = re.compile(rb"\s*(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|PuTTY-User-Key-File-)")
_HASH: Final = re.compile(
    rb"^[^:\n]+:[!*]*(?:\$[0-9a-z]|_[./0-9A-Za-z]{19}|[./0-9A-Za-z]{13}:)", re.MULTILINE
)
_LOGIN: Final = re.compile(rb'"(?:auth|identitytoken|password)"\s*:\s*"[^"]')
_PACKAGED: Final = ("usr/lib/", "usr/share/", "usr/src/", "lib/")
_WHOLE: Final = {
    "authorized_keys": ("*/authorized_keys", "*/authorized_keys2", "*/.ssh/authorized_keys*"),
    "a login": (
        "*/.netrc",
        "*/.git-credentials",
        "*/.aws/credentials",
        "/etc/apt/auth.conf",
        "/etc/apt/auth.conf.d/*",
    ),
}
_SHADOW: Final = ("etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-")
_REGISTRY: Final = ("*/.docker/config.json", "*/.dockercfg", "*/containers/auth.json", "*/.dockerconfigjson")
_NAMED: Final = (*(pattern for patterns in _WHOLE.values() for pattern in patterns), *_REGISTRY)
_IDENTITY: Final = ("/etc/ssh/ssh_host_*_key", "/etc/machine-id", "/var/lib/dbus/machine-id")


class SecretScanner:
    """Fed with a tar piece by piece. `found` has what was seen: `/etc/shadow: a password hash`."""

    def __init__(self, *, base: bool) -> None:
        self.found: list[str] = []
        self._base = base
        self._rest = b""
        self._skip = 0  # bytes of content to pass over
        self._name = self._long = ""
        self._kind = b""
        self._size = 0
        self._long_size = -1
        self._ended: bool = False

    def feed(self, data: bytes | memoryview) -> None:
        """The next piece."""
        position = min(self._skip, len(data))
        self._skip -= position
        if self._done() or position == len(data):
            return
        buffer = self._rest + data[position:] if self._rest else memoryview(data)[position:]
        at, end = 0, len(buffer)
        while not self._done() and end - at >= _BLOCK:
            whole = self._header(bytes(buffer[at : at + _BLOCK]))
            if self._done():
                break
            padded = -(-self._size // _BLOCK) * _BLOCK
            if whole and end - at < _BLOCK + self._size:
                break
            if self._kind not in _META:  # seen to the end, so what came before it is used up
                self._long, self._long_size = "", -1
            if whole:
                self._content(bytes(buffer[at + _BLOCK : at + _BLOCK + self._size]))
            at += _BLOCK + padded
            if at > end:
                self._skip, at = at - end, end
        self._rest = b"" if self._done() else bytes(buffer[at:])

    def _done(self) -> bool:
        return self._ended

    def _header(self, block: bytes) -> bool:
        """Take in a header; whether the content is wanted whole."""
        if not block.strip(b"\0"):
            self._ended = True
            return False
        self._kind = block[156:157]
        self._size = _number(block[124:136])
        if self._size < 0 or block[257:262] not in (b"ustar", b"\0\0\0\0\0"):
            self._ended = True
            self.found.append("the layer: not a tar that can be looked into")
            return False
        if self._kind in _META:
            return self._size <= 1 << 20
        name = _text(block[:100])
        prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
        self._name = "/" + (self._long or (f"{prefix}/{name}" if prefix else name)).removeprefix("./").lstrip(
            "/"
        )
        if self._long_size >= 0:
            self._size = self._long_size
        if self._kind not in (b"0", b"\0", b"7"):
            self._size = 0
            return False
        return 0 < self._size <= _SMALL and self._suspicious()

    def _suspicious(self) -> bool:
        """Files whose content is looked at: by name, or any outside of what packages bring."""
        return not self._name[1:].startswith(_PACKAGED) or self._named()

    def _named(self) -> bool:
        return _is(self._name, _NAMED)

    def _content(self, content: bytes) -> None:
        if self._kind == b"L":
            self._long = _text(content)
        elif self._kind == b"x":
            said = _records(content)
            self._long = said.get(b"path", b"").decode(errors="surrogateescape") or self._long
            size = said.get(b"size", b"")
            self._long_size = int(size) if size.isdigit() and len(size) < 20 else -1
        elif self._kind not in b"gK":
            self._judge(content)

    def _judge(self, content: bytes) -> None:
        name = self._name
        if self._base and _is(name, _IDENTITY):
            if content.strip() not in (b"", b"uninitialized"):
                self._say("the identity of a machine")
        elif _is(name, ("/etc/ssh/ssh_host_*_key",)):
            return
        elif _KEY.match(content):
            self._say("a private key")
        elif name[1:] in _SHADOW:
            if _HASH.search(content):
                self._say("a password hash")
        elif _is(name, _REGISTRY):
            if _LOGIN.search(content):
                self._say("a login of a registry")
        else:
            for what, patterns in _WHOLE.items():
                if _is(name, patterns) and content.strip():
                    self._say(what)

    def _say(self, what: str) -> None:
        self.found.append(f"{self._name}: {what}")


@lru_cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return _pattern(patterns).match(name) is not None


def _number(field: bytes) -> int:
    """Octal, or base 256 where the first bit is set (GNU); -1 for neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else -1
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return -1


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _records(content: bytes) -> dict[bytes, bytes]:
    """What a PAX header says: records `LENGTH NAME=VALUE\\n` (POSIX pax, "pax Extended Header")."""
    found, at = {}, 0
    while at < len(content):
        digits, space, _ = content[at : at + 20].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits):
            break
        name, _, value = content[at + len(digits) + 1 : at + int(digits) - 1].partition(b"=")
        found[name] = value
        at += int(digits)
    return found
