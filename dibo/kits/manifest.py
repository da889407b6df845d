"""What a kit says about itself: a file in its tree, checked before the kit is used.

/usr/lib/dibo/kit/manifest.json
    {"format": 1, "profile": "cloud", "architecture": "amd64", "kernel": "6.12.48+deb13-cloud-amd64"}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NoReturn

from dibo.errors import ImageError

KIT: Final = PurePosixPath("/usr/lib/dibo/kit")
"""What a kit has in a root, besides its kernel, modules and boot files."""
MANIFEST: Final = KIT / "manifest.json"
FORMAT: Final = 1
"""Of kits: what the files of an application look like (dibo.kits.files), and what the kit's init does with them."""
LABEL: Final = "io.dibo.kit"
"""Of the image of a kit, and of its entries in indexes: its profile."""
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KitManifest:
    profile: str
    architecture: str
    """Debian's word."""
    kernel: str
    """Its version, the name of the directory of its modules."""

    def text(self) -> str:
        document = {
            "format": FORMAT,
            "profile": self.profile,
            "architecture": self.architecture,
            "kernel": self.kernel,
        }
        return json.dumps(document, indent=2) + "\n"


def parse_kit_manifest(data: bytes, *, name: str) -> KitManifest:
    """The manifest of the kit `name`. Raises ImageError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        _fail(name, f"not JSON: {error}")
    if not isinstance(document, dict):
        _fail(name, "expected an object")
    if type(document.get("format")) is not int or document["format"] != FORMAT:
        _fail(
            name,
            f"format {document.get('format')!r}, expected {FORMAT}",
            hint="make the kit again with this version of dibo: dibo build --kit",
        )
    values = [
        value for key in ("profile", "architecture", "kernel") if isinstance(value := document.get(key), str)
    ]
    if len(values) != 3 or not all(map(_WORD.fullmatch, values)):
        _fail(name, "expected profile, architecture and kernel, each a word")
    profile, architecture, kernel = values
    return KitManifest(profile=profile, architecture=architecture, kernel=kernel)


def _fail(name: str, problem: str, *, hint: str = "make the kit again: dibo build --kit") -> NoReturn:
    raise ImageError(f"the kit {name} cannot be used: {MANIFEST}: {problem}", hint=hint)
