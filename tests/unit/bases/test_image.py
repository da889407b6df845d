"""Bases that are container images on disk; those in registries are in tests/integration/test_bases.py."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dibo.base import OciImage
from dibo.bases.image import OciLayout, RegistryImage
from dibo.bases.settings import BaseSettings
from dibo.errors import BaseError, RegistryError, Unreachable, UsageError, VerificationFailed

DIGEST = f"sha256:{'ab' * 32}"


def blob(layout: Path, content: dict[str, Any]) -> str:
    text = json.dumps(content).encode()
    value = hashlib.sha256(text).hexdigest()
    directory = layout / "blobs/sha256"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / value).write_bytes(text)
    return f"sha256:{value}"


def index(layout: Path, **tags: str) -> None:
    manifests = [
        {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": tag}}
        if tag
        else {"digest": digest}
        for tag, digest in tags.items()
    ]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "layout"
    path.mkdir()
    return path


def test_a_layout_of_one_image(layout: Path, settings: BaseSettings) -> None:
    digest = blob(layout, {"layers": []})
    index(layout, one=digest)
    for spec in (f"oci:{layout}", f"oci:{layout}:one"):
        base = OciLayout(spec, settings=settings)
        assert base.ingredients() == (("kind", "image"), ("digest", digest))
        assert base.source() == OciImage(reference=spec)


def test_several_images_want_a_tag(layout: Path, settings: BaseSettings) -> None:
    one, two = blob(layout, {"layers": [], "n": 1}), blob(layout, {"layers": [], "n": 2})
    index(layout, one=one, two=two)
    assert dict(OciLayout(f"oci:{layout}:two", settings=settings).ingredients())["digest"] == two
    with pytest.raises(BaseError, match="has several images") as caught:
        OciLayout(f"oci:{layout}", settings=settings).ingredients()
    assert "tags are one, two" in caught.value.hint
    with pytest.raises(BaseError, match="has no image three"):
        OciLayout(f"oci:{layout}:three", settings=settings).ingredients()


def test_an_index_by_architecture(layout: Path, settings: BaseSettings) -> None:
    amd, arm = blob(layout, {"layers": [], "n": 1}), blob(layout, {"layers": [], "n": 2})
    entries = [
        {"digest": arm, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": amd, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": arm, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
    index(layout, t=blob(layout, {"manifests": entries}))

    def digest(architecture: str) -> str:
        said = dataclasses.replace(settings, architecture=architecture)
        return dict(OciLayout(f"oci:{layout}:t", settings=said).ingredients())["digest"]

    assert digest("amd64") == amd
    assert digest("arm64") == arm
    with pytest.raises(RegistryError, match=r"no image for s390x; it has linux/amd64, linux/arm64"):
        digest("s390x")


def test_damaged_layouts(layout: Path, settings: BaseSettings) -> None:
    base = OciLayout(f"oci:{layout}", settings=settings)
    with pytest.raises(BaseError, match=r"cannot read .*index.json"):
        base.ingredients()
    for text in (
        "{",
        "[]",
        '{"manifests": 3}',
        '{"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}',
    ):
        (layout / "index.json").write_text(text)
        with pytest.raises((BaseError, RegistryError)):
            base.ingredients()
    digest = blob(layout, {"layers": []})
    index(layout, t=digest)
    (layout / "blobs/sha256" / digest[7:]).write_text("{}")
    with pytest.raises(VerificationFailed, match="not what its name says"):
        base.ingredients()


def test_no_directory(settings: BaseSettings) -> None:
    with pytest.raises(UsageError, match="names no directory"):
        OciLayout("oci::tag", settings=settings)


def test_a_digest_needs_no_registry(settings: BaseSettings) -> None:
    base = RegistryImage(f"nowhere.invalid/x:tag@{DIGEST}", settings=settings)
    assert base.ingredients() == (("kind", "image"), ("digest", DIGEST))
    assert base.source() == OciImage(reference=f"docker://nowhere.invalid/x@{DIGEST}")


def test_a_tag_needs_one(settings: BaseSettings) -> None:
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(Unreachable, match="only its registry knows"):
        RegistryImage("nowhere.invalid/x", settings=offline).ingredients()
