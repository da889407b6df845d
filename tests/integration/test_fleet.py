"""A bake on workers of Dask: with stores of their own and a registry between them, the artefacts are those that one
machine makes, whatever becomes of workers and of the registry meanwhile."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dibo.errors import EngineError, LocalLayers, SomeFailed, Unreachable, UsageError
from dibo.system import process
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need
from tests.support.servers.dask_cluster import DaskCluster, dask_cluster
from tests.support.servers.registry import Registry, registry
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
NAP = "4.0625"
"""Seconds that the shared layer takes: by this number its process is found."""
TASK = "dibo.api.fleet.task_process"
VALUE = "a-value-that-stays"


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv", "docker-registry")
    with build_env(user.need_ordinary_user()) as made:
        for name in ("out", "here"):
            (made.directory / name).mkdir(mode=0o777)
            (made.directory / name).chmod(0o777)
        yield made
        assert made.left() == []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path, delete=True) as made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path, 2) as made:
        yield made


def write_project(place: BuildEnv, *images: str, nap: str = "0") -> Path:
    """Each image is a flavour of its own on one that they share; `bad` fails; `local` has data of its machine."""
    shared = SH + f"sleep {nap}\necho once > /shared\n"
    write_flavour(place.flavours, "shared", {"install.d/10-shared": shared})
    for name in images:
        hook = "exit 7\n" if name == "bad" else f"grep -q once /shared\necho {name} > /own\n"
        yaml = "needs: [shared]\n" + ("local: true\n" if name == "local" else "")
        write_flavour(place.flavours, name, {"install.d/20-own": SH + hook}, yaml=yaml)
    entries = "".join(f"  {name}: {{flavours: [{name}]}}\n" for name in images)
    file = place.directory / "dibo.yaml"
    file.write_text(
        f"defaults: {{types: [raw, tar], size: 0.1, no-base: true, destination: {place.directory}/out}}\n"
        f"images:\n{entries}"
    )
    return file


def digests(directory: Path) -> dict[str, str]:
    """What lies there, by the records beside it."""
    return {path.name: path.read_text().split()[0] for path in sorted(directory.glob("*.sha256"))}


def bake_here(place: BuildEnv, project: Path, *names: str) -> dict[str, str]:
    """What one machine makes of the same."""
    done = place.run("dibo", "bake", "--project", project, "-o", place.directory / "here", *names)
    assert done.code == 0, done.err
    return digests(place.directory / "here")


def on(cluster: DaskCluster, hub: Registry) -> tuple[str, ...]:
    return ("--on", f"dask://{cluster.address}", "--cache", f"{hub.host}/cache")


def test_workers_with_stores_of_their_own(place: BuildEnv, cluster: DaskCluster, hub: Registry) -> None:
    project = write_project(place, "a", "b", "bad")
    variables = {"DIBO_TEST_PASSWORD": VALUE, "UNKNOWN": VALUE}
    done = place.run("dibo", "bake", "--project", project, *on(cluster, hub), environment=variables)
    assert done.code == SomeFailed.exit_code, done.err
    assert "1 of 3 images could not be made" in done.err
    assert done.err.count("shared install.d: 10-shared (a, b, bad): done") == 1
    assert done.err.count("bad install.d: 20-own (bad) …") == 1, (
        "a hook that fails is not run again elsewhere"
    )
    made = digests(place.directory / "out")
    assert made == bake_here(place, project, "a", "b")
    assert sorted(made) == ["a.raw.sha256", "a.tar.sha256", "b.raw.sha256", "b.tar.sha256"]
    assert not [tag for tag in hub.tags("cache") if tag.startswith("bake-")], "what was on its way is removed"
    for worker in cluster.workers:
        assert worker.pids(TASK) == []
        stored = b"".join(path.read_bytes() for path in worker.env.cache.rglob("*") if path.is_file())
        assert VALUE.encode() not in stored


def test_what_cannot_be_built_elsewhere_is_refused_first(
    place: BuildEnv, cluster: DaskCluster, hub: Registry
) -> None:
    project = write_project(place, "a", "local")
    done = place.run("dibo", "bake", "--project", project, "--on", f"dask://{cluster.address}", "a")
    assert done.code == UsageError.exit_code, done.err
    assert "none is named" in done.error
    done = place.run("dibo", "bake", "--project", project, *on(cluster, hub))
    assert done.code == LocalLayers.exit_code, done.err
    assert "local has the flavour local" in done.error
    done = place.run(
        "dibo", "bake", "--project", project, "--on", "dask://127.0.0.1:1", *on(cluster, hub)[2:]
    )
    assert done.code == Unreachable.exit_code, done.err
    assert "does not respond" in done.error
    missing = ("--cache", "127.0.0.1:1/cache")
    done = place.run("dibo", "bake", "--project", project, *on(cluster, hub)[:2], *missing)
    assert done.code == EngineError.exit_code, done.err
    assert "does not reach 127.0.0.1:1/cache" in done.err
    assert "10-shared" not in done.err
    assert digests(place.directory / "out") == {}


@pytest.mark.long
def test_interrupted(place: BuildEnv, cluster: DaskCluster, hub: Registry) -> None:
    project = write_project(place, "a", nap=NAP)
    running = place.start("dibo", "bake", "--project", project, *on(cluster, hub))
    wait_for(lambda: bool(naps()), "the hook began")
    running.send_signal(signal.SIGINT)
    assert running.wait(TIMEOUT) == 128 + signal.SIGINT
    wait_for(lambda: not naps(), "the hook ended")
    for worker in cluster.workers:
        wait_for(lambda: not worker.pids(TASK), "the process of the task ended")  # noqa: B023 (called here)
        assert worker.env.run("buildah", "containers", "--quiet", "--all").out == ""
        assert list((worker.env.cache / "runs").glob("*")) == []


@pytest.mark.long
def test_on_this_machine(place: BuildEnv) -> None:
    project = write_project(place, "a", "b")
    done = place.run("dibo", "bake", "--project", project, "--on", "dask", "-j2")
    assert done.code == 0, done.err
    assert done.err.count("shared install.d: 10-shared (a, b): done") == 1
    made = digests(place.directory / "out")
    assert made == bake_here(place, project)
    assert len(made) == 4


@pytest.mark.long
def test_a_worker_is_killed_another_is_slow_and_the_registry_starts_again(
    place: BuildEnv, tmp_path: Path
) -> None:
    project = write_project(place, "a", "b", "c", "d", nap=NAP)
    lines = []
    with dask_cluster(tmp_path, 4, slow=(3,)) as cluster:
        with registry(tmp_path) as hub:
            running = place.start("dibo", "bake", "--project", project, *on(cluster, hub))
            wait_for(lambda: bool(naps()), "the shared layer is being built")
            (nap,) = naps()
            (busy,) = [worker for worker in cluster.workers if {*worker.pids(TASK)} & ancestors(nap)]
            busy.kill()
            assert running.stderr is not None
            for line in running.stderr:
                lines.append(line)
                if line.startswith("a install.d: 20-own"):
                    break
        with registry(tmp_path, host=hub.host):
            output = "".join(lines) + running.communicate(timeout=TIMEOUT)[1]
    assert running.returncode == 0, output
    assert "begins again on another worker: its worker ended" in output
    assert output.count("shared install.d: 10-shared (4 images): done") == 1
    made = digests(place.directory / "out")
    assert made == bake_here(place, project)
    assert len(made) == 8


def naps() -> list[int]:
    """Processes of the hook of the shared layer."""
    found = []
    for pid in process.process_table():
        with contextlib.suppress(OSError):
            if f"sleep\0{NAP}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def ancestors(pid: int) -> set[int]:
    """The process that started this one, the one that started that one, and so on."""
    table, above = process.process_table(), set()
    while pid in table:
        pid = table[pid][0]
        above.add(pid)
    return above


def wait_for(condition: Callable[[], bool], description: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {description}"
        time.sleep(0.05)
