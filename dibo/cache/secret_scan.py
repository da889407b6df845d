"""A look at a layer's tar as it goes by on its way to a registry: secrets stay on this machine.

Flavours that install secrets say so (`local: true`), and their layers stay. This is for those that forgot. It looks at
names first, and reads only files that are small enough to be a secret; what is one: dibo.cache.secret_rules.

The tar is what an engine writes: ustar headers, PAX names, GNU long names (dibo.images.layers.tar_header). A layer that
is no such tar is held back too.
"""

from __future__ import annotations

from typing import Final

from dibo.cache.secret_rules import is_suspicious, secret_in
from dibo.images.layers.tar_header import (
    BLOCK,
    FIELDS,
    Malformed,
    checksum_fits,
    decimal,
    full_name,
    number,
    records,
    text,
)

_SMALL: Final = 256 << 10
_META: Final = b"xgLK"  # headers that belong to the entry after them
_MOST_META: Final = 1 << 20  # bytes
_FILES: Final = b"0\x007S"
_EXTENDED_AT: Final = 482  # of a sparse file (S): whether more of its map comes before the content
_KNOWN: Final = _META + _FILES + b"123456"


class SecretScanner:
    """Fed with a tar piece by piece. `findings` lists secrets, such as `/etc/shadow: a password hash`."""

    def __init__(self, *, base: bool) -> None:
        self.findings: list[str] = []
        self._base = base
        self._rest = b""
        self._skip = 0  # bytes of content to pass over
        self._name = ""
        self._long = b""
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
        while not self._done() and end - at >= BLOCK:
            whole = self._header(bytes(buffer[at : at + BLOCK]))
            if self._done():
                break
            padded = -(-self._size // BLOCK) * BLOCK
            if whole and end - at < BLOCK + self._size:
                break
            if self._kind not in _META:  # seen to the end, so what came before it is used up
                self._long, self._long_size = b"", -1
            if whole:
                self._content(bytes(buffer[at + BLOCK : at + BLOCK + self._size]))
            at += BLOCK + padded
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
        fields = FIELDS.unpack_from(block)
        self._kind = fields[7]
        try:
            self._size = number(fields[4], "size") if checksum_fits(memoryview(block), fields[6]) else -1
        except Malformed:
            self._size = -1
        meta = self._kind in _META
        extended = self._kind == b"S" and block[_EXTENDED_AT] != 0
        if self._size < 0 or self._kind not in _KNOWN or extended or (meta and self._size > _MOST_META):
            self._give_up()
            return False
        if meta:
            return True
        name = self._long or full_name(memoryview(block), fields)
        self._name = "/" + name.decode(errors="surrogateescape").removeprefix("./").lstrip("/")
        if self._long_size >= 0:
            self._size = self._long_size
        if self._kind not in _FILES:
            self._size = 0
            return False
        return 0 < self._size <= _SMALL and is_suspicious(self._name)

    def _content(self, content: bytes) -> None:
        if self._kind == b"L":
            self._long = text(content)
        elif self._kind == b"x":
            try:
                extended = records(content)
                self._long = extended.get(b"path") or self._long
                self._long_size = decimal(extended[b"size"], "size") if b"size" in extended else -1
            except Malformed:
                self._give_up()
        elif self._kind not in _META:
            self._judge(content)

    def _give_up(self) -> None:
        self._ended = True
        self.findings.append("the layer: not a tar that can be scanned")

    def _judge(self, content: bytes) -> None:
        secret = secret_in(self._name, content, base=self._base)
        if secret:
            self.findings.append(f"{self._name}: {secret}")
