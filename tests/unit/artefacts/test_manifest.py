"""What a manifest says, and what it must never say. A whole one is looked at in tests/integration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dibo.artefacts.build_manifest import flavour_digest, told
from dibo.artefacts.manifest import (
    Facts,
    artefacts,
    complete,
    manifest_text,
    public_name,
    shaping,
    without_login,
)
from dibo.artefacts.outputs import Outputs
from dibo.system.workspace import Workspace
from dibo.tree.dpkg import Package
from tests.support.flavours import read_recipe, write_flavour


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("http://mirror.example/debian", "http://mirror.example/debian"),
        ("https://me:hunter2@mirror:8443/d https://mirror/s", "https://mirror:8443/d https://mirror/s"),
        ("https://token@mirror/x", "https://mirror/x"),
    ],
)
def test_no_logins(address: str, public: str) -> None:
    assert without_login(address) == public


@pytest.mark.parametrize(
    ("reference", "public"),
    [
        ("oci:/home/me/images/web:1", "oci:web:1"),
        ("docker-archive:/srv/web.tar", "docker-archive:web.tar"),
        ("registry.example:5000/images/web:1", "registry.example:5000/images/web:1"),
        ("containers-storage:localhost/web", "containers-storage:localhost/web"),
    ],
)
def test_no_directories(reference: str, public: str) -> None:
    assert public_name(reference) == public


def test_variables_that_can_change_artefacts_and_are_no_secrets() -> None:
    given = {
        "DIBO_QCOW2_COMPRESSION": "zstd",
        "DIBO_MINE": "1",
        "DIBO_CACHE": "registry.example/cache",
        "DIBO_FLAVOURS_PATH": "/home/me",
        "DIBO_MINE_PASSWORD": "hunter2",
        "DIBO_RUN": "1",
    }
    assert shaping(given) == {"DIBO_MINE": "1", "DIBO_QCOW2_COMPRESSION": "zstd"}


def test_values_that_may_be_secrets_are_not_told(tmp_path: Path) -> None:
    mine = "environment: {SIZE: '1', DB_PASS: '', API_TOKEN: none, http_proxy: ''}\n"
    write_flavour(tmp_path, "mine", ["install.d/10-mine"], yaml=mine)
    write_flavour(tmp_path, "here", ["install.d/10-here"], yaml="environment: {NAME: x}\nlocal: true\n")
    stack = read_recipe(tmp_path, "mine", "here").stack
    nothing: dict[str, str] = {}
    assert told(stack, nothing.get) == {
        "API_TOKEN": "none",
        "DB_PASS": "",
        "NAME": "x",
        "SIZE": "1",
        "http_proxy": "",
    }
    own = {"SIZE": "2", "DB_PASS": "hunter2", "API_TOKEN": "t", "NAME": "me", "http_proxy": "http://u:p@h"}
    assert told(stack, own.get) == {
        "API_TOKEN": None,
        "DB_PASS": None,
        "NAME": None,
        "SIZE": "2",
        "http_proxy": None,
    }


def test_a_flavour_s_digest_covers_all_that_can_change_an_image(tmp_path: Path) -> None:
    def digest() -> str:
        return flavour_digest(read_recipe(tmp_path, "one").stack.get("one"))

    flavour = write_flavour(tmp_path, "one", ["install.d/10-one", "files/data", "modules"])
    digests = [digest()]
    assert digest() == digests[0]
    (flavour / "README.md").write_text("other\n")
    assert digest() == digests[0]
    (flavour / "files" / "data").chmod(0o755)
    digests.append(digest())
    (flavour / "files" / "data").write_text("other\n")
    digests.append(digest())
    (flavour / "modules").write_text("e1000\n")
    digests.append(digest())
    (flavour / "flavour.yaml").write_text("packages: [nginx]\n")
    digests.append(digest())
    (flavour / "layout.yaml").write_text("table: gpt\n")
    digests.append(digest())
    assert len(set(digests)) == 6


def test_a_manifest_is_written_in_one_way(tmp_path: Path) -> None:
    image = tmp_path / "web.raw"
    facts = Facts(layers=("sha256:1",), packages=(Package(name="a", version="1", architecture="all"),))
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        outputs.artefact(image).write_bytes(b"disk")
        digest = outputs.checksum(image)
        manifest = complete(
            {"layers": [{"title": "base"}]}, facts, artefacts(["raw"], [image], [4], [digest])
        )
        outputs.record(tmp_path / "web.manifest.json", manifest_text(manifest))
        outputs.publish()
    assert digest == hashlib.sha256(b"disk").hexdigest()
    assert (tmp_path / "web.raw.sha256").read_text() == f"{digest}  web.raw\n"
    assert json.loads((tmp_path / "web.manifest.json").read_text()) == {
        "layers": [{"title": "base", "digest": "sha256:1"}],
        "packages": [{"name": "a", "version": "1", "architecture": "all"}],
        "artefacts": [{"type": "raw", "name": "web.raw", "size": 4, "sha256": digest}],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "web.manifest.json",
        "web.raw",
        "web.raw.sha256",
    ]


def test_what_nobody_asked_for_is_null(tmp_path: Path) -> None:
    image = tmp_path / "web.raw"
    image.write_bytes(b"")
    made = complete({"layers": [{}]}, Facts(layers=(), packages=None), artefacts(["raw"], [image], [0], []))
    assert made["packages"] is None
    assert made["artefacts"][0]["sha256"] is None
    assert made["layers"] == [{}]


def test_a_base_of_several_layers_has_a_digest_for_each() -> None:
    about = {"layers": [{"title": "an image"}, {"title": "install mine"}]}
    facts = Facts(layers=("sha256:a", "sha256:b", "sha256:c"), packages=None)
    assert complete(about, facts, [])["layers"] == [
        {"title": "an image", "digest": "sha256:a"},
        {"title": "an image", "digest": "sha256:b"},
        {"title": "install mine", "digest": "sha256:c"},
    ]


def test_layers_without_digests_are_named() -> None:
    about = {"layers": [{"diff-id": "sha256:a"}, {"diff-id": "sha256:b"}]}
    assert complete(about, Facts(layers=(), packages=None), [])["layers"] == about["layers"]
