"""`dibo convert` needs no privilege and no program: the same bytes come out where next to nothing is allowed.

What is taken away is taken away by the kernel (tests/support/host/confine.py), and each way is first seen to bite.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.system import process
from tests.support.host import bare_root, confine
from tests.support.host.installed_dibo import installed_dibo
from tests.support.images.corpus_workspace import CorpusWorkspace, corpus_workspace
from tests.support.images.oracle import command
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

NOBODY = 65_534
UNKNOWN = 61_234  # an id that has no entry in /etc/passwd, as OpenShift gives to pods
TYPES = ("raw", "qcow2")
SOURCES = ("layout", "registry")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and as whom dibo runs: what is put in front of it, its variables, and where its files really are."""

    around: Sequence[str]
    dibo: Sequence[str]
    environment: Mapping[str, str]
    owner: int
    top: Path = Path("/")


@dataclass(frozen=True, kw_only=True)
class Ground:
    shop: CorpusWorkspace
    directory: Path
    registry: str
    confine: Path


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """The image `two` of the corpus, as a layout that everybody may read and in a registry; and the confiner."""
    if os.geteuid() != 0:
        unmet("only root can give up what root has")
    need("umoci", "skopeo", "docker-registry")
    with corpus_workspace() as shop:
        shop.directory.chmod(0o755)
        layout = shop.directory / "layout"
        shutil.copytree(shop.umoci_image, layout)
        command("chmod", "-R", "a+rX", layout)
        name = f"{shop.registry.host}/no/privileges:1"
        copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false")
        command(*copy, f"oci:{layout}:two", f"docker://{name}")
        confiner = shop.directory / "confine.py"
        shutil.copy(confine.__file__, confiner)
        yield Ground(shop=shop, directory=layout, registry=name, confine=confiner)


def run(
    place: Place, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # igzip does not always give the same bytes
    compression = {"DIBO_QCOW2_COMPRESSION": "zstd"}
    variables = {**process.proxies(), **compression, **place.environment, **(environment or {})}
    return subprocess.run(
        [*place.around, *place.dibo, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=variables,
        cwd="/",
    )


def artefacts(ground: Ground, place: Place, reference: str, *options: str) -> list[Path]:
    """What dibo makes there of an image."""
    output = place.top / "out" if place.top != Path("/") else ground.shop.new("out")
    output.mkdir(exist_ok=True)
    os.chown(output, place.owner, place.owner)
    seen = Path("/") / output.relative_to(place.top)
    done = run(
        place,
        ["convert", reference, "-o", f"{seen}/disk", "-t", ",".join(TYPES), "--bare", *options],
        {"TMPDIR": "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or "error" not in done.stderr
    made = ["disk.manifest.json", *(f"disk.{each}" for each in TYPES)]
    assert sorted(path.name for path in output.iterdir()) == sorted(made)
    return [output / f"disk.{each}" for each in TYPES]


@pytest.fixture(scope="module")
def usual(ground: Ground) -> dict[str, list[Path]]:
    """The artefacts of a root with all its programs, by source."""
    place = Place(
        around=(),
        dibo=(str(installed_dibo() / "dibo"),),
        environment={"PATH": os.environ["PATH"], "HOME": "/root"},
        owner=0,
    )
    kept: dict[str, list[Path]] = {}
    for source in SOURCES:
        kept[source] = []
        for made in artefacts(ground, place, reference(ground, source)):
            kept[source].append(made.rename(ground.shop.directory / f"usual-{source}{made.suffix}"))
        ground.shop.clear()
    return kept


def reference(ground: Ground, source: str) -> str:
    return f"oci:{ground.directory}:two" if source == "layout" else ground.registry


def confined(ground: Ground, *options: str) -> list[str]:
    return [sys.executable, "-I", str(ground.confine), *options, "--"]


def of_root_without_containers(ground: Ground) -> Place:
    return Place(
        around=confined(ground, "--no-containers"),
        dibo=(str(installed_dibo() / "dibo"),),
        environment={"PATH": os.environ["PATH"], "HOME": "/root"},
        owner=0,
    )


def of_nobody(ground: Ground) -> Place:
    """A user with no subordinate ids and no directory of his own."""
    return Place(
        around=confined(ground, "--id", str(NOBODY)),
        dibo=(str(installed_dibo() / "dibo"),),
        environment={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        owner=NOBODY,
    )


def of_an_unknown_id(ground: Ground) -> Place:
    return Place(
        around=confined(ground, "--id", str(UNKNOWN), "--no-containers"),
        dibo=(str(installed_dibo() / "dibo"),),
        environment={"PATH": os.environ["PATH"]},
        owner=UNKNOWN,
    )


def of_no_programs(ground: Ground) -> Place:
    nothing = ground.shop.new("nothing")
    nothing.mkdir()
    return Place(
        around=confined(ground),
        dibo=(str(installed_dibo() / "python"), str(installed_dibo() / "dibo")),
        environment={"PATH": str(nothing), "HOME": "/root"},
        owner=0,
    )


def of_a_bare_root(ground: Ground) -> Place:
    """A container that holds Python, dibo and the image, run without capabilities by an id that nobody has."""
    top = ground.shop.new("root")
    top.mkdir(mode=0o755)
    argv = bare_root.make(top)
    inside = top / ground.directory.relative_to("/")
    shutil.copytree(ground.directory, inside)
    return Place(
        around=confined(ground, "--root", str(top), "--id", str(UNKNOWN), "--no-containers"),
        dibo=argv,
        environment={"PATH": "/nothing"},
        owner=UNKNOWN,
        top=top,
    )


PLACES = (of_root_without_containers, of_nobody, of_an_unknown_id, of_no_programs, of_a_bare_root)


@pytest.fixture(params=PLACES, ids=[each.__name__.removeprefix("of_") for each in PLACES])
def place(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Place]:
    need("ldd")
    yield request.param(ground)
    ground.shop.clear()


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_bytes_as_with_all_privileges(
    ground: Ground, usual: dict[str, list[Path]], place: Place, source: str
) -> None:
    made = artefacts(ground, place, reference(ground, source))
    for one, other in zip(made, usual[source], strict=True):
        command("cmp", one, other)


ATTEMPTS = {
    "unshare": "libc.unshare(0x10000000)",
    "clone": "libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)",
    "mount": "libc.mount(b'none', b'/mnt', b'tmpfs', 0, 0)",
    "pivot_root": "libc.pivot_root(b'/', b'/')",
    "mknod": "libc.mknod(b'/tmp/dibo-never', 0o60600, 0x701)",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_is_forbidden_is_forbidden(ground: Ground, name: str) -> None:
    script = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); "
        f"done = {ATTEMPTS[name]}; sys.exit(ctypes.get_errno() if done < 0 else 100)"
    )
    argv = [*confined(ground, "--no-containers"), "/usr/bin/python3", "-c", script]
    assert subprocess.run(argv, timeout=TIMEOUT).returncode == 1  # EPERM


def test_who_became_somebody_has_no_capability_and_no_group(ground: Ground) -> None:
    argv = [*confined(ground, "--id", str(UNKNOWN)), "/bin/cat", "/proc/self/status"]
    status = dict(line.split(":", 1) for line in command(*argv).splitlines())
    assert {status[name].strip().strip("0") for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert (status["NoNewPrivs"].strip(), status["Groups"].strip()) == ("1", "")
    assert set(status["Uid"].split()) == {str(UNKNOWN)}


def test_in_the_bare_root_there_is_no_program_but_python(ground: Ground, tmp_path: Path) -> None:
    bare_root.make(tmp_path)
    programs = {
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink() and ".so" not in path.name
        if path.read_bytes()[:4] == b"\x7fELF"
    }
    assert programs == {(installed_dibo() / "python").resolve().name}
    assert not (tmp_path / "bin").exists()
    assert not (tmp_path / "proc").exists()
