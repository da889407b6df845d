"""Platforms by containerd's rules."""

from __future__ import annotations

import pytest

from dibo.images.platforms import Platform, normalize, preference, split_architecture


@pytest.mark.parametrize(
    ("architecture", "variant", "normal"),
    [
        ("x86_64", "", ("amd64", "")),
        ("AMD64", "v1", ("amd64", "")),
        ("amd64", "v2", ("amd64", "v2")),
        ("aarch64", "", ("arm64", "")),
        ("arm64", "v8", ("arm64", "")),
        ("arm64", "8", ("arm64", "")),
        ("arm64", "v8.0", ("arm64", "")),
        ("arm64", "9.0", ("arm64", "v9")),
        ("arm64", "v9", ("arm64", "v9")),
        ("aarch64", "v8.5", ("arm64", "v8.5")),
        ("armhf", "", ("arm", "v7")),
        ("armel", "", ("arm", "v6")),
        ("arm", "", ("arm", "v7")),
        ("arm", "v8", ("arm", "v8")),
        ("arm", "7", ("arm", "v7")),
        ("arm", "6", ("arm", "v6")),
        ("i386", "", ("386", "")),
        ("i686", "v2", ("386", "")),
        ("ppc64el", "", ("ppc64le", "")),
        ("riscv64", "", ("riscv64", "")),
    ],
)
def test_normal_names(architecture: str, variant: str, normal: tuple[str, str]) -> None:
    assert normalize(architecture, variant) == normal


@pytest.mark.parametrize(
    ("wanted", "platform", "place"),
    [
        ("amd64", "amd64", 0),
        ("amd64", "x86_64", 0),
        ("amd64", "amd64/v1", 0),
        ("amd64", "amd64/v2", None),
        ("amd64", "386", None),
        ("amd64/v3", "amd64/v3", 0),
        ("amd64/v3", "amd64/v2", 1),
        ("amd64/v3", "amd64", 2),
        ("amd64/v3", "amd64/v4", None),
        ("arm64", "aarch64", 0),
        ("arm64", "arm64/v8", 0),
        ("arm64", "arm64/v9", None),
        ("arm64/v9", "arm64/v8.5", 1),
        ("arm64/v9", "arm64/v8.6", None),
        ("arm64/v9", "arm64", 6),
        ("arm64/v9.2", "arm64/v9.1", 1),
        ("arm64/v9.2", "arm64/v9.0", 2),
        ("arm64/v9.2", "arm64/v8.7", 3),
        ("arm64/v9.7", "arm64/v8.9", 8),
        ("arm64/v8.2", "arm64/v8.1", 1),
        ("arm64/v8.2", "arm64/v8", 2),
        ("arm64/v8.2", "arm64/v9", None),
        ("arm64", "arm/v7", None),
        ("armhf", "arm", 0),
        ("armhf", "arm/v7", 0),
        ("armhf", "arm/v6", 1),
        ("armhf", "arm/v5", 2),
        ("armhf", "arm/v8", None),
        ("arm/v6", "arm/v7", None),
        ("arm/v8", "arm/v7", 1),
        ("linux/arm/v7", "arm/v6", 1),
        ("i386", "386", 0),
        ("i386", "amd64", None),
        ("riscv64", "riscv64", 0),
        ("riscv64/rva22u64", "riscv64", 1),
        ("riscv64", "riscv64/rva22u64", None),
        ("s390x", "s390x", 0),
        ("weird", "weird", 0),
    ],
)
def test_what_is_taken(wanted: str, platform: str, place: int | None) -> None:
    name, _, variant = platform.partition("/")
    assert preference(Platform(os="linux", architecture=name, variant=variant), wanted) == place
    assert preference(Platform(os="windows", architecture=name, variant=variant), wanted) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("amd64", ("amd64", "")),
        ("x86_64", ("amd64", "")),
        ("linux/amd64/v2", ("amd64", "v2")),
        ("amd64/v1", ("amd64", "")),
        ("aarch64", ("arm64", "")),
        ("arm64/v8", ("arm64", "")),
        ("armhf", ("armhf", "")),
        ("linux/arm64/v8", ("arm64", "")),
        ("Linux/ARM64/V9", ("arm64", "v9")),
        ("linux/arm/v7", ("armhf", "")),
        ("arm", ("armhf", "")),
        ("arm/v6", ("arm/v6", "")),
        ("386", ("i386", "")),
        ("linux/386", ("i386", "")),
        ("linux/riscv64", ("riscv64", "")),
        ("i686", ("i386", "")),
    ],
)
def test_what_somebody_asks_for(text: str, parts: tuple[str, str]) -> None:
    assert split_architecture(text) == parts
