"""`from dibo.api import plan, build, convert, inspect`: values in and out, nothing printed, errors of dibo.errors."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dibo import api
from dibo.api import BuildOptions, ConvertOptions, DiskOptions, build, convert, inspect, plan
from dibo.api.public import _build_settings, _disk_options
from dibo.errors import DiskImageError, ImageError, ToolMissing, UnknownFlavour, UsageError
from dibo.settings.settings import Options
from tests.support.disks.boot_disks import FILES, ext4, save
from tests.support.flavours import write_flavour
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.web_layout import OS_RELEASE, STATUS, write_layout
from tests.unit.images.sources.sample_images import Maker
from tests.unit.images.sources.test_registry import put

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> object:
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def without_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def test_a_disk_of_an_image(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "image", "1")
    lines: list[str] = []
    options = ConvertOptions(bare=True, checksums=True, architecture="amd64", cache_dir=tmp_path / "cache")
    disk = DiskOptions(types=("raw", "qcow2"), size=0.125)
    paths = convert(f"oci:{layout}:1", "web", options=options, disk=disk, progress=lines.append)
    assert paths == (Path("web.raw"), Path("web.qcow2"))
    assert Path("web.raw").stat().st_size == 1 << 27
    assert Path("web.raw.sha256").exists()
    assert lines
    assert not [line for line in lines if "\n" in line]
    raw, qcow2 = (inspect(path, cache_dir=tmp_path / "cache") for path in paths)
    assert (raw.format, qcow2.format, raw.size) == ("raw", "qcow2", 1 << 27)
    assert raw.partitions == qcow2.partitions
    assert raw.system is not None
    assert (raw.system.id, raw.system.version) == ("debian", "13")
    assert [(package.name, package.version) for package in raw.packages or ()] == [("nginx", "1.26.3-3")]


def test_a_damaged_image_and_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no-such"):
        convert("oci:no-such", "web")
    with pytest.raises(UsageError, match="no-such-type"):
        convert("oci:no-such", "web", disk=DiskOptions(types=("no-such-type",)))
    with pytest.raises(UsageError, match="types: expected a tuple"):
        convert("oci:no-such", "web", disk=DiskOptions(types="raw"))
    for limit in ("max_entries", "max_ratio"):
        with pytest.raises(UsageError, match=f"{limit}: expected a number from 1 on, got 0"):
            convert("oci:no-such", "web", options=ConvertOptions(**{limit: 0}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="verify_keys: expected a tuple"):
        convert("oci:no-such", "web", options=ConvertOptions(verify_keys="team.pub"))  # type: ignore[arg-type]
    assert list(Path().iterdir()) == []


def test_inspect_kernels_and_volumes(tmp_path: Path) -> None:
    files = {
        **FILES,
        "usr/lib/os-release": OS_RELEASE.encode(),
        "var/lib/dpkg/status.d/nginx": STATUS.encode(),
    }
    contents = inspect(save(tmp_path / "web.raw", ext4(files)))
    assert [kernel.version for kernel in contents.kernels] == ["6.1.0-9-amd64", "6.1.0-13-amd64"]
    newest = contents.kernels[-1]
    assert (newest.partition, newest.path) == (0, "/boot/vmlinuz-6.1.0-13-amd64")
    assert newest.ramdisks == ("/boot/initrd.img-6.1.0-13-amd64",)
    assert newest.arguments is not None
    assert "ro" in newest.arguments
    (disk,) = contents.partitions
    assert (disk.number, disk.start, disk.size, disk.type, disk.filesystem) == (0, 0, 8 << 20, "", "ext4")
    assert contents.system is not None
    assert contents.system.name == "Debian GNU/Linux 13 (trixie)"
    assert [package.name for package in contents.packages or ()] == ["nginx"]


def test_inspect_a_disk_without_a_system_and_no_disk(tmp_path: Path) -> None:
    contents = inspect(save(tmp_path / "web.raw", ext4({"file": b"x"})))
    assert (contents.kernels, contents.system, contents.packages) == ((), None, None)
    (tmp_path / "no-disk.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(DiskImageError, match="compressed"):
        inspect(tmp_path / "no-disk.tar.gz")


@pytest.mark.usefixtures("without_programs")
def test_a_plan_with_a_base_in_a_registry(tmp_path: Path) -> None:
    write_flavour(
        tmp_path / "flavours",
        "web",
        {"install.d/50-site": "#!/bin/sh\necho $TITLE\n"},
        yaml="environment: {TITLE: x}",
    )
    with FakeRegistry() as registry:
        maker = Maker()
        base = put(registry, maker, maker.image(compress=True)["digest"])
        options = BuildOptions(
            base=base,
            architecture="amd64",
            with_base=False,
            flavours_path=(tmp_path / "flavours",),
            cache=(f"{registry.host}/cache",),
            epoch="release-7",
        )
        planned = plan(["web"], options=options)
        other = plan(["web"], options=replace(options, environment={"TITLE": "y"}))
    assert (planned.stack, planned.architecture, planned.epoch) == (("web",), "amd64", "release-7")
    assert [layer.title.partition(" ")[0] for layer in planned.layers] == ["base", "web", "finalise"]
    assert planned.to_build == planned.layers
    assert planned.layers[1].ingredients["phase"] == "install.d"
    assert planned.key == planned.layers[-1].key
    assert planned.layers[0].key == other.layers[0].key
    assert planned.layers[1].key != other.layers[1].key


@pytest.mark.usefixtures("without_programs")
def test_a_build_without_an_engine_is_an_error(tmp_path: Path) -> None:
    write_flavour(tmp_path / "flavours", "web", {"install.d/50-site": "#!/bin/sh\n"})
    options = BuildOptions(flavours_path=(tmp_path / "flavours",), with_base=False, engine="buildah")
    with pytest.raises(ToolMissing, match="buildah"):
        build(["web"], options=options)
    with pytest.raises(ToolMissing, match="buildah"):
        build(["web"], "web", options=options)
    with pytest.raises(UnknownFlavour):
        build(["no-such-flavour"], "web")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: plan([]),
        lambda: plan("vm"),
        lambda: build(["vm"], "web", options=BuildOptions(tag="localhost/web")),
        lambda: build(["vm"], disk=DiskOptions()),
        lambda: build(["vm"], options=BuildOptions(include_local=True)),
        lambda: plan(["vm"], options=BuildOptions(flavours_path="flavours")),  # type: ignore[arg-type]
        lambda: plan(["vm"], options=BuildOptions(engine="no-such-engine")),
    ],
)
def test_wrong_calls(call: object) -> None:
    assert callable(call)
    with pytest.raises(UsageError):
        call()


def test_every_option_of_a_build_arrives() -> None:
    """Whatever the commands can be asked for, but what only they have."""
    settings = _build_settings(
        ["vm"], BuildOptions(environment={"DIBO_EPOCH": "a"}), _disk_options("x", DiskOptions())
    )
    assert (settings.epoch, settings.output, settings.types) == ("a", Path("x"), ("qcow2",))
    given = set(BuildOptions.__dataclass_fields__) - {"tag", "push", "include_local", "environment"}
    given = {
        {"cache": "caches", "cache_from": "caches_from", "cache_to": "caches_to"}.get(n, n) for n in given
    }
    of_disk = {"name", "types", "image_size", "filesystem", "loop", "provenance", "converters_path"}
    assert set(Options.__dataclass_fields__) - given - of_disk == {"flavours", "base_flavour", "verbose"}


def test_variables_of_the_process_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIBO_EPOCH", "of-the-process")
    monkeypatch.setenv("IMAGE_TYPE", "tar")
    assert _build_settings(["vm"], BuildOptions(epoch="mine"), {}).epoch == "mine"
    assert _build_settings(["vm"], BuildOptions(), {}).types == ("qcow2",)
    assert _build_settings(["vm"], BuildOptions(environment=os.environ), {}).epoch == "of-the-process"


def test_the_import_is_cheap_and_lazy() -> None:
    code = (
        "import sys, dibo.api; before = set(sys.modules); assert 'yaml' not in before, 'yaml';"
        "from dibo.api import plan, build, convert, inspect, BuildOptions;"
        "heavy = {'requests', 'docker', 'cryptography', 'argparse', 'oras'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "import dibo.api.planning, dibo.api.image, dibo.api.conversion;"
        "assert all(map(callable, (dibo.api.plan, dibo.api.build, dibo.api.convert, dibo.api.inspect)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_public_names_are_those_that_exist() -> None:
    assert sorted(api.__all__) == api.__all__
    assert all(hasattr(api, name) for name in api.__all__)
