"""What `dibo elements check` says, with all elements of diskimage-builder as a measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dibo.elements.checks.check import (
    ElementVerdict,
    Verdict,
    check_elements,
    elements_at,
    own_elements,
)
from dibo.elements.checks.findings import Severity
from dibo.errors import UnknownFlavour
from tests.support import dib
from tests.support.dib import needs_wheel

OWN = own_elements(Path(__file__).parents[4] / "containerfiles/elements/own")
GOOD = "#!/bin/bash\nset -eu -o pipefail\n"


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """An element; files in phases and in bin/ are executable."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    return directory


def check(directory: Path, files: Mapping[str, str]) -> ElementVerdict:
    element = write(directory / "mine", files)
    (verdict,) = check_elements({"mine": element}, known={}, replaced=OWN)
    return verdict


def codes(verdict: ElementVerdict) -> list[str]:
    return [
        f"{'!' if finding.severity is Severity.OBSTACLE else ''}{finding.code}"
        for finding in verdict.findings
    ]


def test_an_element_that_runs(tmp_path: Path) -> None:
    verdict = check(
        tmp_path,
        {
            "element-deps": "",
            "package-installs.yaml": "vim:\n",
            "pkg-map": "{}",
            "environment.d/10-mine": "export DIB_MINE=${DIB_MINE:-yes}\n",
            "root.d/10-x": GOOD
            + 'sudo mkdir -p "$TARGET_ROOT/etc"\nsudo mount --bind /dev $TARGET_ROOT/dev\n',
            "install.d/50-x": GOOD + "install-packages vim\n# losetup\necho 'mount -o loop'\n",
            "install.d/data.conf": "x",
            "install.d/notes": "x",
        },
    )
    assert (verdict.verdict, verdict.findings) == (Verdict.RUNS, ())


@pytest.mark.parametrize(
    ("path", "line", "code"),
    [
        ("cleanup.d/50-x", "sudo losetup -f", "!loop-device"),
        ("cleanup.d/50-x", "sudo mount -o ro,loop a b", "!loop-device"),
        ("cleanup.d/50-x", "mount /dev/mapper/x /mnt", "!loop-device"),
        ("cleanup.d/50-x", "x=$(sudo /sbin/losetup -f)", "!loop-device"),
        ("cleanup.d/50-x", "if losetup -f; then :; fi", "loop-device"),
        ("cleanup.d/50-x", "losetup -f || true", "loop-device"),
        ("bin/x", "losetup -f", "loop-device"),
        ("finalise.d/50-x", "lvcreate -n x vg", "!device-mapper"),
        ("cleanup.d/50-x", "sudo mknod dev/vda b 254 0", "!device-node"),
        ("cleanup.d/50-x", "sudo mknod -m 666 $TARGET_ROOT/dev/random c 1 8", ""),
        ("cleanup.d/50-x", "mknod ./dev/null c 1 3", ""),
        ("install.d/50-x", "mknod /dev/random c 1 8", "!device-node"),
        ("cleanup.d/50-x", "mknod fifo p", ""),
        ("root.d/50-x", "docker run x", "!docker-socket"),
        ("root.d/50-x", "$_sudo ${DIB_CONTAINERFILE_RUNTIME} build x", "!docker-socket"),
        ("root.d/50-x", "$TMP_HOOKS_PATH/bin/extract-image a b", "!disk-image"),
        ("install.d/50-x", "python2.7 x", "python2"),
        ("finalise.d/50-x", "grub-install $IMAGE_BLOCK_DEVICE", "!image-device"),
        ("finalise.d/50-x", 'sgdisk -p "$IMAGE_BLOCK_DEVICE"', "!image-device"),
        ("post-install.d/50-x", "source $_LIB/common-defaults", "!dib-internals"),
        ("post-install.d/50-x", "source $_LIB/common-functions", ""),
        ("install.d/50-x", "modprobe dummy", "!host-kernel"),
        ("install.d/50-x", "sysctl -p", "!host-kernel"),
        ("install.d/50-x", "sysctl -n kernel.x", ""),
        ("install.d/50-x", "chattr +i /etc/resolv.conf", "!host-kernel"),
        ("install.d/50-x", "systemctl restart ssh", "no-services"),
        ("install.d/50-x", "systemctl enable ssh", ""),
        ("install.d/50-x", "curl -O http://x", "network-fetch"),
        ("install.d/50-x", "git clone http://x", "network-fetch"),
        ("install.d/50-x", "git -C /x log", ""),
        ("install.d/50-x", "rsync -a a/ b/", ""),
        ("install.d/50-x", "/opt/venv/bin/pip3 install ansible", "package-index"),
        ("install.d/50-x", "python3 -m pip install -r x", "package-index"),
        ("install.d/50-x", "apt-get install -y vim", ""),
        ("install.d/50-x", "export VERSION=$(x)", "masked-failure"),
        ("install.d/50-x", "VERSION=$(x)", ""),
        ("extra-data.d/50-x", "cp ${KEY:-$HOME/.ssh/id.pub} $TMP_HOOKS_PATH", "home-files"),
        ("extra-data.d/50-x", "cat ~/.netrc", "home-files"),
        ("install.d/50-x", "mkdir ~/.ssh", ""),
        ("install.d/50-x", 'echo "$REG_PASSWORD" | x', "secret-variable"),
        ("cleanup.d/50-x", 'echo "$DIB_ENV" >x', "environment-dump"),
        ("environment.d/10-x", "export X=$(mktemp)", "masked-failure environment-effect"),
        ("environment.d/10-x", "mkdir -p /x", "environment-effect"),
        ("environment.d/10-x", "echo a >/tmp/x", "environment-effect"),
        ("environment.d/10-x", "echo a >&2", ""),
        ("environment.d/10-x", "set -x", "environment-effect"),
        ("environment.d/10-x", '[ -n "$X" ] || exit 0', "environment-effect"),
    ],
)
def test_commands_of_scripts(tmp_path: Path, path: str, line: str, code: str) -> None:
    start = "" if path.startswith("environment.d") else GOOD
    verdict = check(tmp_path, {path: f"{start}{line}\n"})
    assert " ".join(sorted(codes(verdict), reverse=True)) == code
    for finding in verdict.findings:
        assert finding.place == f"{path}:{3 if start else 1}"
        assert finding.message and finding.advice
    assert verdict.verdict is (Verdict.REFUSED if "!" in code else Verdict.RUNS)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"install.d/50-x": "#!/bin/bash\nx\n"}, "unchecked-failure"),
        ({"install.d/50-x": "#!/bin/bash -e\nx\n"}, ""),
        ({"install.d/50-x": "#!/bin/bash\nset -o errexit\nx\n"}, ""),
        ({"install.d/50-x": "#!/bin/bash\n# dib-lint: disable=setu sete\nx\n"}, ""),
        ({"install.d/50-x": "#!/usr/bin/python2\n"}, "!python2"),
        ({"install.d/50-x": "#!/usr/bin/env python3\nlosetup\n"}, ""),
        ({"install.d/50-x": "#!/bin/bash\r\nset -e\n"}, "!line-endings"),
        ({"install.d/50-x.sh": GOOD}, "never-runs"),
        ({"environment.d/10-x": "#!/bin/bash\nA=b\n"}, "environment-script"),
        ({"package-installs.yaml": "vim: {fase: x}\n"}, "!malformed"),
        ({"pkg-map": "{"}, "!malformed"),
        ({"svc-map": "[]"}, "!malformed"),
        ({"element-deps": "base  # always\n"}, "!malformed"),
        ({"install.d/package-installs-mine": "a b\n"}, "!malformed"),
        ({"source-repository-x": "x git /x https://h/$REPO ${REF:-main}\n"}, ""),
        ({"source-repository-x": "x gti /x https://h\n"}, "!malformed"),
        ({"source-repository-x": "x git /x $(y)\n"}, "computed-source"),
        ({"block-device-default.yaml": "- lvm: {name: x, base: y}\n"}, "!disk"),
        ({"block-device.d/10-x": GOOD}, "!block-device-hook"),
        ({"init.d/x": "x", "binary-deps.d/x": "x"}, "!ramdisk"),
        ({"init.d/x": "x", "install.d/50-x": GOOD}, "ramdisk"),
        ({"init-scripts/upstart/x.conf": "x"}, "init-scripts"),
        ({"init-scripts/upstart/x.conf": "x", "init-scripts/systemd/x.service": "x"}, ""),
        ({"element-deps": "other\n"}, "unknown-element"),
    ],
)
def test_files(tmp_path: Path, files: Mapping[str, str], code: str) -> None:
    verdict = check(tmp_path, files)
    assert " ".join(sorted(codes(verdict))) == code
    assert all(finding.advice or finding.code == "malformed" for finding in verdict.findings)


def test_repeats_are_counted(tmp_path: Path) -> None:
    verdict = check(
        tmp_path, {"install.d/50-x": GOOD + "curl a\ncurl b\nwget c\n", "install.d/60-x": GOOD + "curl a\n"}
    )
    assert [(finding.place, finding.more) for finding in verdict.findings] == [
        ("install.d/50-x:3", 2),
        ("install.d/60-x:3", 0),
    ]


def test_an_element_does_not_run_if_what_it_needs_does_not(tmp_path: Path) -> None:
    write(tmp_path / "a/mine", {"element-deps": "middle\nvirtual\n"})
    write(tmp_path / "b/middle", {"element-deps": "low\nbootloader\n"})
    write(tmp_path / "b/low", {"cleanup.d/10-x": GOOD + "losetup -f\n"})
    write(tmp_path / "b/provider", {"element-provides": "virtual\n"})
    write(tmp_path / "b/bootloader", {"element-deps": "low\n", "finalise.d/10-x": GOOD + "kpartx x\n"})
    known = elements_at([tmp_path / "b"])
    assert sorted(known) == ["bootloader", "low", "middle", "provider"]
    (mine,) = check_elements(elements_at([tmp_path / "a"]), known=known, replaced=OWN)
    assert mine.verdict is Verdict.REFUSED
    (finding,) = mine.findings
    assert (finding.code, finding.message) == ("dependency", "the element low, which it needs, does not run")
    (loader,) = check_elements({"bootloader": known["bootloader"]}, known=known, replaced=OWN)
    assert (loader.verdict, loader.findings) == (Verdict.REPLACED, ())
    assert "which installs GRUB on a device" in loader.reason and loader.document()["verdict"] == "replaced"


def test_paths(tmp_path: Path) -> None:
    write(tmp_path / "dir/pkg-map", {"README.rst": "x"})
    write(tmp_path / "dir/one", {"element-deps": ""})
    write(tmp_path / "dir/one/install.d", {"50-x": GOOD})
    assert sorted(elements_at([tmp_path / "dir"])) == ["one", "pkg-map"]
    assert list(elements_at([tmp_path / "dir/one"])) == ["one"]
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(UnknownFlavour):
            elements_at([path])


@needs_wheel
def test_elements_of_the_wheel() -> None:
    """Those that are refused need root, or are dead in the release that they come with."""
    elements = elements_at([dib.elements()])
    verdicts = {verdict.name: verdict for verdict in check_elements(elements, known={}, replaced=OWN)}
    assert len(verdicts) == 128
    refused = {
        name: set(codes(verdict)) for name, verdict in verdicts.items() if verdict.verdict is Verdict.REFUSED
    }
    assert sorted(refused) == [
        *("block-device-efi-lvm", "centos", "deploy-baremetal", "deploy-kexec", "docker", "dracut-ramdisk"),
        *("fedora", "hwburnin", "hwdiscovery", "iso", "lvm", "opensuse", "ramdisk", "rax-nova-agent", "rhel"),
        "zipl",
    ]
    assert "!loop-device" in refused["iso"] & refused["rax-nova-agent"]
    assert "!disk-image" in refused["fedora"] & refused["rhel"] & refused["centos"] & refused["opensuse"]
    assert "!docker-socket" in refused["docker"]
    replaced = sorted(name for name, verdict in verdicts.items() if verdict.verdict is Verdict.REPLACED)
    assert replaced == sorted(OWN) and len(OWN) > 4
    warned = {name: set(codes(verdict)) for name, verdict in verdicts.items()}
    for name, code in {
        "rhel-common": "secret-variable",
        "local-config": "home-files",
        "devuser": "home-files",
        "manifests": "environment-dump",
        "simple-init": "package-index",
    }.items():
        assert code in warned[name], name
