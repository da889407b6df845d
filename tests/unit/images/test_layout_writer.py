"""An image written out as an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import pytest

from dibo.errors import VerificationFailed
from dibo.images.image import Image, Layer
from dibo.images.layout_writer import save_layout
from dibo.images.sources.choose import choose_image


def layer(data: bytes, *, digest: str | None = None, size: int | None = None) -> Layer:
    return Layer(open=lambda: io.BytesIO(data), digest=digest, size=size, diff_id=None)


def image(*layers: Layer, config: dict[str, object] | None = None) -> Image:
    return Image(
        name="web", digest="sha256:" + 64 * "0", architecture="amd64", layers=layers, config=config or {}
    )


PLAIN = bytes(1024)
PACKED = gzip.compress(PLAIN, mtime=0)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256(PLAIN), sha256(PLAIN)]},
    }
    digest = save_layout(
        image(layer(PLAIN), layer(PACKED, digest=sha256(PACKED), size=len(PACKED)), config=config), tmp_path
    )
    with choose_image(f"oci:{tmp_path}", architecture="amd64", scratch=tmp_path) as found:
        assert found.config == {**config, "history": [{"comment": "layer"}] * 2}
        assert [each.digest for each in found.layers] == [sha256(PLAIN), sha256(PACKED)]
        for each, wanted in zip(found.layers, (PLAIN, PACKED), strict=True):
            with each.open() as stream:
                assert stream.read(1 << 20) == wanted
    manifest = json.loads((tmp_path / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_text())
    assert [each["mediaType"].rpartition(".")[2] for each in manifest["layers"]] == ["tar", "tar+gzip"]
    assert found.digest == manifest["config"]["digest"]


def test_history_that_is_right_stays(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "rootfs": {"type": "layers", "diff_ids": [sha256(PLAIN)]},
        "history": [{"created_by": "ADD"}, {"created_by": "CMD", "empty_layer": True}],
    }
    save_layout(image(layer(PLAIN), config=config), tmp_path)
    with choose_image(f"oci:{tmp_path}", architecture="amd64", scratch=tmp_path) as found:
        assert found.config == config


@pytest.mark.parametrize(("digest", "size"), [(sha256(b"other"), None), (None, 7)])
def test_a_layer_that_is_not_what_it_says(tmp_path: Path, digest: str | None, size: int | None) -> None:
    with pytest.raises(VerificationFailed, match="a layer of web does not match its digest"):
        save_layout(image(layer(PLAIN, digest=digest, size=size)), tmp_path)
