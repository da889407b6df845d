"""Values that steps see at /run/secrets/NAME: read once, handed over in memory, kept out of everything else.

The value of a secret is in no key, label, layer, argument or log. While steps run it is in a file of mode 0400 in a
directory of mode 0700 on a tmpfs; in output, MASK stands for it. Of a secret with `rebuild` keys have a revision: an
HMAC with a random key that stays in dibo's cache, so that who reads a registry cannot try values out
(docs/explanation/caching.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dibo.errors import OutputError, UsageError
from dibo.flavours.model import Secret
from dibo.flavours.schema import nearest
from dibo.flavours.stack import Stack
from dibo.plan.keys import canonical
from dibo.plan.recipe import Step
from dibo.settings.secrets import SecretSource
from dibo.system.workspace import Run

MASK: Final = "****"
_LARGEST: Final = 1 << 20
_SHORTEST_LINE: Final = 4
_LINE_WIDTHS: Final = (64, 76)  # of PEM (RFC 7468, 2); of base64(1) and MIME (RFC 2045, 6.8)
_FRAGMENT: Final = 12
_PROBE: Final = 8
_SHORTEST_INSIDE: Final = 6
_LETTER: Final = "[A-Za-z0-9+/_-]"
_WORD: Final = re.compile(rf"{_LETTER}{{{_PROBE},}}={{0,2}}")
_OF_URL: Final = str.maketrans("-_", "+/")
_REVISION_KEY: Final = "revision-key"


class SecretValues:
    """The values that were given, by name. No method, nor its repr, shows one."""

    def __init__(self, values: Mapping[str, bytes] | None = None) -> None:
        self._values = dict(values or {})
        self.mask = make_mask(self._values.values())

    def __repr__(self) -> str:
        return f"SecretValues({', '.join(self._values)})"

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def revisions(self, stack: Stack, directory: Path) -> dict[str, str]:
        """What changes with the value, of each secret with `rebuild`. The HMAC's key is kept in `directory`."""
        flavours = {s.name: flavour.name for flavour in stack.flavours for s in flavour.secrets if s.rebuild}
        self._require(flavours)
        if not flavours:
            return {}
        key = _revision_key(directory)
        return {name: _revision(key, name, self._values[name]) for name in flavours}

    def require_for(self, steps: Iterable[Step]) -> None:
        """Raises UsageError where a step that is to run would miss a secret."""
        self._require({secret.name: step.flavour for step in steps for secret in step.secrets})

    def _require(self, flavours: Mapping[str, str]) -> None:
        missing = {name: flavour for name, flavour in flavours.items() if name not in self._values}
        if not missing:
            return
        needed = ", ".join(f"{name!r} (of the flavour {flavour!r})" for name, flavour in missing.items())
        options = " ".join(f"--secret {name}=FILE" for name in missing)
        raise UsageError(
            f"a secret is missing: {needed}",
            hint=f"{options}, or NAME=env:VARIABLE for one of the environment",
        )

    def undeclared(self, stack: Stack) -> Iterator[str]:
        """A warning for each value that no flavour of the stack asks for."""
        declared = {secret.name for flavour in stack.flavours for secret in flavour.secrets}
        for name in self._values:
            if name not in declared:
                yield f"no flavour of the stack declares the secret {name!r}{nearest(name, declared)}"

    @contextmanager
    def files(self, secrets: Iterable[Secret], run: Run) -> Iterator[dict[str, Path]]:
        """A file for each of some secrets, in one directory of its own in memory. Raises OutputError."""
        names = [secret.name for secret in secrets]
        if not names:
            yield {}
            return
        with run.in_memory() as directory:
            files = {name: directory / name for name in names}
            for name, path in files.items():
                _write(path, self._values[name])
            yield files


def read_secrets(sources: Iterable[SecretSource], environment: Mapping[str, str]) -> SecretValues:
    """Raises UsageError for a file that cannot be read, or a variable that is not set."""
    return SecretValues({source.name: _read(source, environment) for source in sources})


def _read(source: SecretSource, environment: Mapping[str, str]) -> bytes:
    if source.file is None:
        if not environment.get(source.variable):
            raise UsageError(f"the secret {source.name}: the variable {source.variable} is not set, or empty")
        return environment[source.variable].encode(errors="surrogateescape")
    try:
        with source.file.open("rb") as file:
            value = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"the secret {source.name}: cannot read {source.file}: {error.strerror}") from error
    if len(value) > _LARGEST:
        raise UsageError(f"the secret {source.name}: {source.file} is larger than {_LARGEST >> 20} MiB")
    if not value.strip():
        raise UsageError(f"the secret {source.name}: {source.file} is empty")
    return value


def _write(path: Path, value: bytes) -> None:
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(value)
        path.chmod(0o400)
    except OSError as error:
        raise OutputError(f"cannot write the secret {path.name!r} to {path}: {error.strerror}") from error


def make_mask(values: Iterable[bytes]) -> Callable[[str], str]:
    """What replaces secrets in a line of output: the values, their longer lines, both as in a URL, and words of base64
    in which _FRAGMENT characters stand for a part of a value, whatever is before it and however long lines are."""
    known = set(values)
    patterns = {pattern for value in known for pattern in _patterns(value)}
    if not patterns:
        return str
    pattern = re.compile("|".join(sorted(patterns, key=len, reverse=True)))
    probes = frozenset(probe for value in known for probe in _probes(value))

    def mask(line: str) -> str:
        spans = [match.span() for match in pattern.finditer(line)]
        spans += [match.span() for match in _WORD.finditer(line) if _holds_any(match[0], probes)]
        return _replace(line, spans)

    return mask


def _replace(line: str, spans: Iterable[tuple[int, int]]) -> str:
    """The line with MASK for each span; spans that overlap become one."""
    parts, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            parts += [line[end:start], MASK]
        end = max(end, stop)
    return "".join([*parts, line[end:]])


def _patterns(value: bytes) -> Iterator[str]:
    """Regular expressions for the forms in which a value can stand in a line, other than fragments of its base64."""
    whole = value.strip()
    lines = {line.strip() for line in whole.splitlines() if len(line.strip()) >= _SHORTEST_LINE}
    for piece in {value, whole, *lines} - {b""}:
        for text in (piece.decode(errors="replace"), quote(piece), quote(piece, safe="")):
            yield re.escape(text)
        for text in _short_base64(piece):
            yield text
            yield text.replace(re.escape("+"), "-").replace("/", "_")


def _short_base64(piece: bytes) -> Iterator[str]:
    """Regular expressions for what is too short to be a fragment: the base64 of few bytes, the last line of others."""
    encoded = base64.b64encode(piece).decode().rstrip("=")
    for width in _LINE_WIDTHS:
        last = encoded[len(encoded) // width * width :]
        if len(encoded) < _FRAGMENT or _SHORTEST_LINE <= len(last) < _FRAGMENT:
            yield re.escape(last) + "={0,2}"
    for before, text in enumerate(_in_base64(piece)):
        if _SHORTEST_INSIDE <= len(text) < _FRAGMENT:
            first = f"{_LETTER}?" if before else ""
            yield f"{first}{re.escape(text)}{_LETTER}?={{0,2}}"


def _in_base64(data: bytes) -> Iterator[str]:
    """The characters that `data` alone decides (RFC 4648, 4), where 0, 1 and 2 bytes are before it."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        yield encoded[-(-8 * before // 6) : 8 * (before + len(data)) // 6]


def _probes(value: bytes) -> Iterator[str]:
    """Pieces of the base64 of a value: each fragment of it holds one."""
    for text in _in_base64(value):
        for start in range(0, len(text) - _PROBE + 1, _FRAGMENT - _PROBE + 1):
            yield text[start : start + _PROBE]


def _holds_any(word: str, probes: frozenset[str]) -> bool:
    word = word.translate(_OF_URL)
    return any(word[start : start + _PROBE] in probes for start in range(len(word) - _PROBE + 1))


def _revision(key: bytes, name: str, value: bytes) -> str:
    message = canonical({"secret": name}).encode() + b"\0" + value
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _revision_key(directory: Path) -> bytes:
    """The random key of this cache, made when it is missing."""
    path = directory / _REVISION_KEY
    try:
        if not path.exists():
            new = directory / f".{_REVISION_KEY}-{secrets.token_hex(8)}"
            new.touch(mode=0o600, exist_ok=False)
            new.write_bytes(secrets.token_bytes(32))
            try:
                path.hardlink_to(new)  # whoever comes first wins, and nobody reads half a key
            except FileExistsError:
                pass
            finally:
                new.unlink()
        return path.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot keep the key of revisions in {path}: {error.strerror}") from error
