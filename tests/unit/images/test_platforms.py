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
        ("armhf", "", ("arm", "v7")),
        ("armel", "", ("arm", "v6")),
        ("arm", "", ("arm", "v7")),
        ("arm", "7", ("arm", "v7")),
        ("arm", "6", ("arm", "v6")),
        ("i386", "", ("386", "")),
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
        ("arm64/v9", "arm64/v8", 1),
        ("armhf", "arm", 0),
        ("armhf", "arm/v7", 0),
        ("armhf", "arm/v6", 1),
        ("armhf", "arm/v5", 2),
        ("armhf", "arm/v8", None),
        ("arm/v6", "arm/v7", None),
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
        ("arm/v6", ("arm/v6", "")),
        ("i686", ("i386", "")),
    ],
)
def test_what_somebody_asks_for(text: str, parts: tuple[str, str]) -> None:
    assert split_architecture(text) == parts
