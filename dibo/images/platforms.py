"""What an image is for, and which of several is taken: containerd's rules (github.com/containerd/platforms).

Names are brought into one form first, as `Normalize` does: x86_64 is amd64, aarch64 is arm64, armhf is arm/v7, armel
is arm/v6; amd64/v1 is amd64, arm64/v8 is arm64, arm without a variant is arm/v7. Then, as with `Only`, what is asked
for counts, and after it what the same processor runs as well: amd64/v3 takes v3, v2, and no variant; arm/v7 takes v7,
v6, v5; arm64/v9.1 takes v9.1, v9, v8.6 and what is below (Armv9.N has all of Armv8.N+5); riscv64/rva22u64 takes itself
and no variant. What needs a newer processor than was asked for is not taken. Unlike there, no image for another
architecture is: amd64 takes no 386.

Standard library only, as of Python 3.10: the ramdisk's pull program bundles this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PLATFORMS: Final = {
    "amd64": ("amd64", ""),
    "arm64": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "ppc64el": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}
"""Debian's word for an architecture → GOARCH and variant, the words of the OCI specification."""
_NAMES: Final = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "ppc64el": ("ppc64le", ""),
}
_BASELINES: Final = {
    ("amd64", "v1"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm64", "v9.0"): "v9",
    ("arm", ""): "v7",
}
_VERSION: Final = re.compile(r"v([0-9]{1,2})(?:\.([0-9]{1,2}))?")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def normalize(architecture: str, variant: str = "") -> tuple[str, str]:
    """GOARCH and variant in the one form that is compared."""
    name, kind = architecture.lower(), variant.lower()
    name, own = _NAMES.get(name, (name, ""))
    kind = kind or own
    if name == "386":
        return name, ""
    if name in ("amd64", "arm64", "arm") and _NUMBER.fullmatch(kind):
        kind = f"v{kind}"
    return name, _BASELINES.get((name, kind), kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """In the words of OCI, which are those of Go."""

    os: str
    architecture: str
    variant: str = ""

    @property
    def normal(self) -> tuple[str, str]:
        return normalize(self.architecture, self.variant)

    @property
    def debian(self) -> str:
        """Debian's word for the architecture, or OCI's where Debian has none: `arm/v6`."""
        name, variant = self.normal
        if name == "arm":  # elsewhere a variant is but a newer processor
            return "armhf" if variant == "v7" else f"arm/{variant}"
        return next((word for word, known in PLATFORMS.items() if known[0] == name), name)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def split_architecture(text: str) -> tuple[str, str]:
    """Debian's word and the variant of a requested architecture: `amd64`, `x86_64`, `amd64/v2`, `linux/arm64`."""
    name, variant = _requested(text)
    word = Platform(os="linux", architecture=name, variant=variant).debian
    return word, "" if word == "armhf" or "/" in word else variant


def _requested(text: str) -> tuple[str, str]:
    name, _, variant = text.lower().removeprefix("linux/").partition("/")
    return normalize(name, variant)


def accepted(architecture: str) -> tuple[tuple[str, str], ...]:
    """What will do for `architecture`, such as `amd64` or `amd64/v2`, in normal form, the best first."""
    name, variant = _requested(architecture)
    older = _older(name, variant)
    return tuple(dict.fromkeys([(name, variant), *(normalize(name, kind) for kind in older)]))


def _older(name: str, variant: str) -> list[str]:
    """The variants that a processor runs beside its own, the best first; the empty one is the baseline."""
    version = _VERSION.fullmatch(variant)
    major, minor = (int(version[1]), int(version[2] or 0)) if version is not None else (0, 0)
    if name == "arm":
        return [f"v{number}" for number in range(major - 1, 4, -1)]
    if name == "amd64":
        return [*(f"v{number}" for number in range(major - 1, 1, -1)), ""]
    if name == "arm64" and major == 9:
        highest = min(minor + 5, 9)
        return [*(f"v9.{n}" for n in range(minor - 1, -1, -1)), *(f"v8.{n}" for n in range(highest, -1, -1))]
    if name == "arm64" and major == 8:
        return [f"v8.{n}" for n in range(minor - 1, -1, -1)]
    return [""]


def preference(platform: Platform, architecture: str) -> int | None:
    """The place of a platform among those that will do for `architecture`; None when it is not one of them."""
    ways = accepted(architecture)
    return ways.index(platform.normal) if platform.os == "linux" and platform.normal in ways else None
