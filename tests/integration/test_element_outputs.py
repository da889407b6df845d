"""Files that elements leave beside the image: as `baremetal`, `manifests` and elements for ramdisks do."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator

import pytest

from tests.integration.test_elements import add_bash
from tests.support import user
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need

pytestmark = pytest.mark.integration

FILES = {
    "os/element-provides": "operating-system\n",
    "os/environment.d/14-place": "export DIB_PLACE=${DIB_PLACE:-${IMAGE_NAME}.d/}\n",
    "os/install.d/10-kernel": "mkdir -p /boot\necho kernel > /boot/vmlinuz-1\n",
    "os/cleanup.d/90-kernel": "[ -n $TARGET_ROOT ]\nsudo cp $TARGET_ROOT/boot/vmlinuz-1 ${IMAGE_NAME}.vmlinuz\n"
    "mkdir -p $DIB_PLACE\nsudo cp -r $TARGET_ROOT/boot $DIB_PLACE\n",
    "ramdisk/element-deps": "no-final-image\n",
    "ramdisk/cleanup.d/99-ramdisk-create": "path=$(readlink -f $IMAGE_NAME)\ncd $TARGET_ROOT\n"
    "sudo mknod ./dev/random c 1 8\n"
    "find . -xdev | sed 's/^/name: /' | gzip > ${path}.initramfs\n",
    "no-final-image/README.rst": "",
}


@pytest.fixture(scope="module")
def place() -> Iterator[BuildEnv]:
    need("buildah", "bwrap", "busybox", "bash")
    with build_env(user.need_ordinary_user()) as made:
        add_bash(made.directory / "base.tar")
        for path, text in FILES.items():
            file = made.directory / "elements" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            is_script = path.split("/")[1] in ("install.d", "cleanup.d")
            file.write_text(f"#!/bin/bash\nset -eu\n{text}" if is_script else text)
            file.chmod(0o755 if is_script else 0o644)
        yield made


def build(place: BuildEnv, *words: str) -> str:
    elements = str(place.directory / "elements")
    done = place.run("disk-image-create", "-n", *words, environment={"ELEMENTS_PATH": elements})
    assert done.code == 0, done.err
    return done.err


def test_a_kernel_and_a_directory_beside_the_image(place: BuildEnv) -> None:
    output = place.temporary / "web"
    build(place, "-t", "tar", "-o", str(output), "os")
    kernel, directory = output.with_name("web.vmlinuz"), output.with_name("web.d")
    assert kernel.read_text() == (directory / "boot/vmlinuz-1").read_text() == "kernel\n"
    with tarfile.open(output.with_name("web.tar")) as tar:
        names = tar.getnames()
    assert not [name for name in names if "dibo-outputs" in name]
    manifest = json.loads(output.with_name("web.manifest.json").read_text())
    assert [(entry["name"], entry["size"]) for entry in manifest["beside"]] == [
        ("web.d/boot/vmlinuz-1", 7),
        ("web.vmlinuz", 7),
    ]
    assert "as they were made" in build(place, "-t", "tar", "-o", str(output), "os")
    kernel.unlink()
    assert "as they were made" not in build(place, "-t", "tar", "-o", str(output), "os")
    assert kernel.read_text() == "kernel\n"


def test_a_ramdisk_of_the_whole_root_and_no_disk(place: BuildEnv) -> None:
    output = place.temporary / "ipa"
    build(place, "-o", str(output), "os", "ramdisk")
    listed = gzip.decompress(output.with_name("ipa.initramfs").read_bytes()).decode().splitlines()
    assert {"name: ./boot/vmlinuz-1", "name: ./bin/bash"} <= {*listed}
    assert output.with_name("ipa.vmlinuz").read_text() == "kernel\n"
    assert not output.with_name("ipa.qcow2").exists()
