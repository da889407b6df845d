"""The flavours that come with dibo: each reads well, says what it is, and has scripts that shellcheck likes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dibo.flavours.loader import load_flavour
from dibo.flavours.model import HOOK_NAME, Phase
from dibo.flavours.schema import FlavourManifest, parse_manifest
from dibo.layout.merge import complete
from dibo.layout.model import Layout, PartitionContent, Sizing

FLAVOURS = Path(__file__).parents[3] / "flavours"
NAMES = sorted(path.parent.name for path in FLAVOURS.glob("*/flavour.yaml"))
EXPECTED = {
    "base",
    "boot-files",
    "boot-kit",
    "deploy",
    "devstack-user",
    "hwburnin",
    "hwdiscovery",
    "local-config",
    "mellanox",
    "mysql",
    "nova-compute",
    "persistent-state",
    "ramdisk-base",
    "swift-storage",
    "vm",
}
PHASES = {phase.value for phase in Phase}
SHELL = "#!/bin/sh\n"

SCRIPTS = sorted(
    path for path in FLAVOURS.rglob("*") if path.is_file() and path.read_bytes().startswith(SHELL.encode())
)
HOOKS = sorted(path for path in FLAVOURS.glob("*/*.d/*") if HOOK_NAME.fullmatch(path.name))


def manifest(name: str) -> FlavourManifest:
    path = FLAVOURS / name / "flavour.yaml"
    return parse_manifest(yaml.safe_load(path.read_text()), origin=str(path))


def layout(name: str) -> Layout:
    found = load_flavour(FLAVOURS / name).disk
    assert found is not None
    return complete(found)


def relative(path: Path) -> str:
    return str(path.relative_to(FLAVOURS))


def test_all_are_there() -> None:
    assert {path.name for path in FLAVOURS.iterdir()} >= EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_yaml_reads_well(name: str) -> None:
    found = manifest(name)
    assert found.summary
    assert set(found.needs) | set(found.clashes) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_readme_names_every_variable(name: str) -> None:
    text = (FLAVOURS / name / "README.md").read_text()
    assert text.startswith(f"# {name}\n")
    for variable, _ in manifest(name).environment:
        assert f"`{variable}`" in text


@pytest.mark.parametrize("name", NAMES)
def test_directories_of_phases_hold_hooks(name: str) -> None:
    phases = {path for path in (FLAVOURS / name).iterdir() if path.name.endswith(".d")}
    assert {path.name for path in phases} <= PHASES
    for phase in phases:
        assert any(HOOK_NAME.fullmatch(path.name) for path in phase.iterdir()), phase


@pytest.mark.parametrize("name", NAMES)
def test_variables_of_hooks_are_declared(name: str) -> None:
    """Under `set -u` a variable that is not declared ends the hook."""
    given = {"ARCH", "RELEASE", "DISTRIBUTION", "TMP_HOOKS_PATH", "HOME", "ID", "ID_LIKE", "PRETTY_NAME"}
    found = manifest(name)
    declared = given | {
        variable for each in (*found.needs, name) for variable, _ in manifest(each).environment
    }
    for path in (FLAVOURS / name).glob("*.d/*"):
        if HOOK_NAME.fullmatch(path.name):
            text = path.read_text()
            set_here = set(re.findall(r"\b([A-Z][A-Z_]+)=", text))
            used = set(re.findall(r"(?<!\\)\$\{?([A-Z][A-Z_]+)\b", text))
            assert used <= declared | set_here, path


@pytest.mark.parametrize("hook", HOOKS, ids=relative)
def test_hooks_are_executable_posix_shell(hook: Path) -> None:
    assert hook.stat().st_mode & 0o111 == 0o111
    assert hook.read_text().startswith(SHELL)
    assert "\nset -eu\n" in hook.read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_scripts_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    subprocess.run(["sh", "-n", script], check=True)


def test_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_layout_of_vm_boots_both_ways() -> None:
    wished = {partition.content for partition in layout("vm").partitions}
    assert {PartitionContent.GRUB_CORE, PartitionContent.ESP} <= wished
    root = next(partition for partition in layout("vm").partitions if str(partition.mount) == "/")
    assert root.label == "cloudimg-rootfs"
    assert root.size is Sizing.REST


def test_boot_files_find_the_root_by_the_label_of_the_layout() -> None:
    for name in ("files/early.cfg", "files/esp.cfg", "files/grub-cfg"):
        assert "cloudimg-rootfs" in (FLAVOURS / "boot-files" / name).read_text(), name


class TestLocalConfig:
    """Its first hook runs on the host, so it can run here."""

    HOOK = FLAVOURS / "local-config" / "extra-data.d" / "62-ssh-key"

    def run(self, tmp_path: Path, home: Path | None) -> Path:
        target = tmp_path / "hooks"
        target.mkdir()
        self.said = ""
        environment = {"PATH": "/usr/bin:/bin", "TMP_HOOKS_PATH": str(target)}
        if home is not None:
            environment["HOME"] = str(home)
        done = subprocess.run([self.HOOK], check=True, env=environment, capture_output=True, text=True)
        self.said = done.stderr
        return target / "ssh-authorized-keys"

    def test_takes_the_keys(self, tmp_path: Path) -> None:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "authorized_keys").write_text("ssh-ed25519 AAAA me\n")
        assert self.run(tmp_path, tmp_path).read_text() == "ssh-ed25519 AAAA me\n"
        assert self.said == ""

    @pytest.mark.parametrize("content", [None, ""])
    def test_no_keys_are_fine_but_said(self, tmp_path: Path, content: str | None) -> None:
        keys = tmp_path / ".ssh" / "authorized_keys"
        if content is not None:
            keys.parent.mkdir()
            keys.write_text(content)
        assert not self.run(tmp_path, tmp_path).exists()
        assert self.said == f"warning: local-config brings no SSH key: {keys} is missing or empty\n"

    def test_no_home_is_fine(self, tmp_path: Path) -> None:
        assert not self.run(tmp_path, None).exists()


@pytest.mark.parametrize("bios", [True, False])
@pytest.mark.parametrize("esp", [True, False])
def test_manifest_of_boot_files_is_json(bios: bool, esp: bool) -> None:
    """The line of the hook that writes it, with and without each firmware."""
    hook = (FLAVOURS / "boot-files" / "install.d" / "80-grub").read_text()
    lines = [line.strip() for line in hook.splitlines()]
    write = next(line for line in lines if line.startswith("echo") and "manifest.json" in line)
    setup = [next(line for line in lines if line.startswith("bios='")) if bios else "bios="]
    setup += [next(line for line in lines if line.startswith("esp='")) if esp else "esp="]
    command = "\n".join([*setup, write.split(">")[0]])
    output = subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout
    wished = {"format"} | ({"bios"} if bios else set()) | ({"esp"} if esp else set())
    assert json.loads(output).keys() == wished
