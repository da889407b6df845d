"""The example projects, copied and baked by an ordinary user with a store of their own."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dibo.machines.boards import FirmwareKind
from dibo.system import process
from tests.support import user
from tests.support.disks.gpt_disks import table_of
from tests.support.host.build_env import BuildEnv, build_env, program
from tests.support.machines.emulation import need_firmware
from tests.support.machines.qemu import TOOLS
from tests.support.requirements import need

EXAMPLES = Path(__file__).parents[3] / "examples"
_SECONDS = 3600.0
_SECTOR = 512
_TEST_SETTINGS = ("DIBO_BASE", "DIBO_EPOCH", "FLAVOURS_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedProject:
    """What a bake said."""

    code: int
    text: str
    """Standard error: with --json, a document in each line."""
    document: dict[str, Any]
    junit: ElementTree.Element

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def outcomes(self) -> dict[str, str]:
        """Of images and their tests."""
        images = self.document["images"]
        made = {image["name"]: image["outcome"] for image in images}
        return made | {
            f"{image['name']}: {test['name']}": test["outcome"] for image in images for test in image["tests"]
        }

    @property
    def cases(self) -> dict[str, str]:
        """Of the JUnit report: passed, failure or skipped."""
        return {
            f"{case.get('classname')}: {case.get('name')}": next(
                (child.tag for child in case if child.tag in ("failure", "skipped")), "passed"
            )
            for case in self.junit.iter("testcase")
        }

    @property
    def built(self) -> list[str]:
        """Titles of the layers that were built."""
        return [layer["title"] for layer in self.document["layers"] if layer["origin"] == "built"]


class ExampleLab:
    """A user's directory with examples in it."""

    def __init__(self, env: BuildEnv) -> None:
        self.env = env
        for name in _TEST_SETTINGS:
            del env.environment[name]
        (env.directory / ".git").mkdir()  # paths of project files may lead to all that is in a repository

    def copy(self, name: str) -> Path:
        """The directory of a project, which the user may change."""
        target = self.env.directory / name
        shutil.copytree(EXAMPLES / name, target)
        for path in (target, *target.rglob("*")):
            shutil.chown(path, self.env.user.pw_uid, self.env.user.pw_gid)
        return target

    def bake(self, project: Path, *words: str) -> BakedProject:
        """With --json and --junit."""
        report = project / "bake.xml"
        done = self.run("dibo", "bake", "--json", "--junit", str(report), *words, cwd=project)
        return BakedProject(
            code=done.returncode,
            text=done.stderr,
            document=json.loads(done.stdout),
            junit=ElementTree.parse(report).getroot(),
        )

    def run(self, command: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.env.argv([program(command), *arguments]),
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def start_bake(self, project: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.env.argv([program("dibo"), "bake"]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=project,
        )


@contextlib.contextmanager
def example_lab() -> Iterator[ExampleLab]:
    """At the end nothing of what ran may be left."""
    need(
        "buildah",
        "newuidmap",
        "bwrap",
        "mmdebstrap",
        "busybox",
        "setpriv",
        "e2fsck",
        "sfdisk",
        "zstd",
        *TOOLS,
    )
    need_firmware(FirmwareKind.UEFI)
    with build_env(user.need_ordinary_user()) as env:
        yield ExampleLab(env)
        assert env.left() == []


def check_file_systems(disk: Path, *names: str) -> None:
    """Those of these partitions of a raw disk, ext4. Raises CommandFailed where e2fsck finds anything."""
    starts = {partition["name"]: partition["start"] for partition in table_of(disk)["partitions"]}
    for name in names:
        process.run(["e2fsck", "-fn", f"{disk}?offset={starts[name] * _SECTOR}"], capture=True)


def manifest_of(project: Path, image: str) -> dict[str, Any]:
    """The manifest beside the artefacts of an image."""
    manifest: dict[str, Any] = json.loads((project / "images" / f"{image}.manifest.json").read_text())
    return manifest
