"""A look at a layer's tar as it goes by on its way to a registry: secrets stay on this machine.

Flavours that install secrets say so (`local: true`), and their layers stay. This is for those that forgot. It looks at
names first, and reads only files that are small enough to be a secret; what is one: dibo.cache.secret_rules.

The tar is what an engine writes: ustar headers, PAX names, GNU long names (POSIX pax; GNU tar manual, "Standard").
What cannot be read as one is held back too.
"""

from __future__ import annotations

from typing import Final

from dibo.cache.secret_rules import is_suspicious, secret_in

_BLOCK: Final = 512
_SMALL: Final = 256 << 10
_META: Final = b"xgLK"  # headers that belong to the entry after them


class SecretScanner:
    """Fed with a tar piece by piece. `findings` lists secrets, such as `/etc/shadow: a password hash`."""

    def __init__(self, *, base: bool) -> None:
        self.findings: list[str] = []
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
        """Read a header. Returns whether the whole content is needed."""
        if not block.strip(b"\0"):
            self._ended = True
            return False
        self._kind = block[156:157]
        self._size = _number(block[124:136])
        if self._size < 0 or block[257:262] not in (b"ustar", b"\0\0\0\0\0"):
            self._ended = True
            self.findings.append("the layer: not a tar that can be looked into")
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
        return 0 < self._size <= _SMALL and is_suspicious(self._name)

    def _content(self, content: bytes) -> None:
        if self._kind == b"L":
            self._long = _text(content)
        elif self._kind == b"x":
            records = _records(content)
            self._long = records.get(b"path", b"").decode(errors="surrogateescape") or self._long
            size = records.get(b"size", b"")
            self._long_size = int(size) if size.isdigit() and len(size) < 20 else -1
        elif self._kind not in b"gK":
            self._judge(content)

    def _judge(self, content: bytes) -> None:
        secret = secret_in(self._name, content, base=self._base)
        if secret:
            self.findings.append(f"{self._name}: {secret}")


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
    records, at = {}, 0
    while at < len(content):
        digits, space, _ = content[at : at + 20].partition(b" ")
        if not space or not digits.isdigit() or int(digits) <= len(digits):
            break
        name, _, value = content[at + len(digits) + 1 : at + int(digits) - 1].partition(b"=")
        records[name] = value
        at += int(digits)
    return records
