"""What an image is for, and which of several is taken: containerd's rules (github.com/containerd/platforms).

Names are brought into one form first, as `Normalize` does: x86_64 is amd64, aarch64 is arm64, armhf is arm/v7, armel
is arm/v6; amd64/v1 is amd64, arm64/v8 is arm64, arm without a variant is arm/v7. Then, as with `Only`, what is asked
for counts, and after it what the same processor runs as well: amd64/v3 takes v3, v2, and no variant; arm/v7 takes v7,
v6, v5. What needs a newer processor than was asked for is not taken. Unlike there, no image for another architecture
is: amd64 takes no 386.

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
_BASELINES: Final = {("amd64", "v1"): "", ("arm64", "v8"): "", ("arm64", "8"): "", ("arm", ""): "v7"}
_LOWEST: Final = {"amd64": 2, "arm64": 9, "arm": 5}
"""The lowest variants that have a name of their own."""
_VERSION: Final = re.compile(r"v([0-9]{1,3})(?:\.[0-9]+)?")


def normalize(architecture: str, variant: str = "") -> tuple[str, str]:
    """GOARCH and variant in the one form that is compared."""
    name, kind = architecture.lower(), variant.lower()
    name, own = _NAMES.get(name, (name, ""))
    kind = kind or own
    if name in _LOWEST and kind.isdecimal():
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
    name, _, variant = text.removeprefix("linux/").partition("/")
    name, variant = normalize(name, variant)
    word = Platform(os="linux", architecture=name, variant=variant).debian
    return word, "" if word == "armhf" or "/" in word else variant


def accepted(architecture: str) -> tuple[tuple[str, str], ...]:
    """What will do for `architecture`, such as `amd64` or `amd64/v2`, in normal form, the best first."""
    name, _, variant = architecture.removeprefix("linux/").partition("/")
    name, variant = normalize(name, variant)
    choices = [(name, variant)]
    version = _VERSION.fullmatch(variant)
    if name in _LOWEST and version is not None:
        choices += [(name, f"v{number}") for number in range(int(version[1]) - 1, _LOWEST[name] - 1, -1)]
        if name != "arm":
            choices.append((name, ""))
    return tuple(choices)


def preference(platform: Platform, architecture: str) -> int | None:
    """The place of a platform among those that will do for `architecture`; None when it is not one of them."""
    ways = accepted(architecture)
    return ways.index(platform.normal) if platform.os == "linux" and platform.normal in ways else None
