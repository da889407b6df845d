"""Bases that are container images on disk; those in registries are in tests/integration/test_bases.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dibo.build.bases.image import OciLayout, RegistryImage
from dibo.build.bases.settings import BaseSettings
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.plan.base import NoStore, OciImage
from dibo.system.workspace import Workspace
from tests.unit.images.sources.sample_images import Maker, on, tagged

DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def test_a_layout_of_one_image(layout: Path, settings: BaseSettings) -> None:
    maker = Maker()
    entry = maker.image()
    maker.top(tagged(entry, "one"))
    maker.write(layout)
    for spec in (f"oci:{layout}", f"oci:{layout}:one"):
        base = OciLayout(spec, settings=settings)
        assert base.ingredients() == (("kind", "image"), ("digest", entry["digest"]))
        assert base.source() == OciImage(reference=spec)


def test_several_images_want_a_tag(layout: Path, settings: BaseSettings) -> None:
    maker = Maker()
    two = maker.image(names=["two"])
    maker.top(tagged(maker.image(names=["one"]), "one"), tagged(two, "two"))
    maker.write(layout)
    assert dict(OciLayout(f"oci:{layout}:two", settings=settings).ingredients())["digest"] == two["digest"]
    with pytest.raises(BaseError, match="has several images") as caught:
        OciLayout(f"oci:{layout}", settings=settings).ingredients()
    assert "tags are one, two" in caught.value.hint
    with pytest.raises(BaseError, match="has no image three"):
        OciLayout(f"oci:{layout}:three", settings=settings).ingredients()


def test_an_index_by_architecture(layout: Path, settings: BaseSettings) -> None:
    maker = Maker()
    amd = {**maker.image(names=["amd"]), **on("amd64")}
    arm = {**maker.image(names=["arm"], architecture="arm64"), **on("arm64", "v8")}
    maker.top(tagged(maker.index_of(arm, amd), "t"))
    maker.write(layout)

    def digest(architecture: str) -> str:
        said = dataclasses.replace(settings, architecture=architecture)
        return dict(OciLayout(f"oci:{layout}:t", settings=said).ingredients())["digest"]

    assert digest("amd64") == amd["digest"]
    assert digest("arm64") == arm["digest"]
    with pytest.raises(BaseError, match=r"no image for s390x; it has linux/amd64, linux/arm64/v8"):
        digest("s390x")


def test_damaged_layouts(layout: Path, settings: BaseSettings) -> None:
    """All the ways: tests/unit/images/sources/test_bad_layouts.py."""
    base = OciLayout(f"oci:{layout}", settings=settings)
    with pytest.raises(BaseError, match=r"layout does not exist"):
        base.ingredients()
    maker = Maker()
    entry = maker.image()
    maker.top(entry)
    maker.write(layout)
    (layout / "blobs" / entry["digest"].replace(":", "/")).write_text("{}")
    with pytest.raises(VerificationFailed):
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


def test_an_image_that_was_never_read_is_not_asked_for_offline(
    settings: BaseSettings, tmp_path: Path
) -> None:
    offline = dataclasses.replace(settings, offline=True, resolves=True, network="host")
    base = RegistryImage(
        f"127.0.0.1:1/debian@{DIGEST}", settings=offline, workspace=Workspace(tmp_path / "cache")
    )
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/debian@.* were never read") as caught:
        base.package_names(NoStore(), listed=True)
    assert "--epoch" in caught.value.hint
