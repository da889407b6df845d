"""The commands of pipelines that `dibo bake --emit` writes: each job has a checkout and a store of its own, with the
registry between them. The artefacts are those of one machine."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dibo.errors import Differs
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.host.installed_dibo import installed_dibo
from tests.support.markdown import PROJECT
from tests.support.requirements import need
from tests.support.servers.registry import Registry, registry

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
STACKS = {"web": ("web",), "plain": ("shared",)}


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv", "docker-registry")
    with build_env(user.need_ordinary_user()) as made:
        write_project(made)
        yield made
        assert made.left() == []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path, delete=True) as made:
        yield made


def write_project(place: BuildEnv) -> None:
    checkout = place.directory / "checkout"
    flavours = checkout / "flavours"
    write_flavour(flavours, "shared", {"install.d/10-shared": f"{SH}echo 1 > /shared\n"})
    hook = f"{SH}grep -q 1 /shared\necho 2 > /own\n"
    write_flavour(flavours, "web", {"install.d/20-web": hook}, yaml="needs: [shared]\n")
    entries = "".join(f"  {name}: {{flavours: [{', '.join(stack)}]}}\n" for name, stack in STACKS.items())
    (checkout / "dibo.yaml").write_text(
        "defaults:\n  types: [tar]\n  no-base: true\n  flavours-path: [flavours]\n  destination: out\n"
        f"  base: {place.directory}/base.tar\nimages:\n{entries}"
    )
    for path in (checkout, *checkout.rglob("*")):
        shutil.chown(path, place.user.pw_uid, place.user.pw_gid)


def dibo(env: BuildEnv, checkout: Path, script: str, variables: Mapping[str, str] = {}) -> CommandResult:
    """Run the script of a job, or one command, in a checkout."""
    path = f"{installed_dibo()}:{env.environment['PATH']}"
    if "PATH" in variables:
        path = f"{installed_dibo()}:{variables['PATH']}"
    around = f"set -eu\ncd {shlex.quote(str(checkout))}\n{script}"
    return env.run(
        "sh", "-c", around, environment={**variables, "PATH": path, "DIBO_BASE": "", "FLAVOURS_DIR": ""}
    )


def emitted(place: BuildEnv, service: str) -> dict[str, Any]:
    checkout = place.directory / "checkout"
    done = dibo(place, checkout, f"dibo bake --emit {service}")
    assert done.code == 0, done.err
    file = checkout / done.out.strip().removeprefix(f"{checkout}/")
    again = dibo(place, checkout, f"dibo bake --emit {service} --check")
    assert again.code == 0, again.err
    text = file.read_text()
    (command,) = [line.removeprefix("#     ") for line in text.splitlines() if line.startswith("#     ")]
    file.write_text(text.replace("plain", "others"))
    assert dibo(place, checkout, f"{command} --check").code == Differs.exit_code
    assert dibo(place, checkout, command).code == 0
    assert file.read_text() == text
    return dict(yaml.safe_load(text))


def artefacts_here(place: BuildEnv) -> dict[str, bytes]:
    """What one machine makes."""
    checkout = place.directory / "checkout"
    done = dibo(place, checkout, "dibo bake -o here")
    assert done.code == 0, done.err
    return {path.name: path.read_bytes() for path in (checkout / "here").glob("*.tar")}


def run_job(
    place: BuildEnv, script: str, variables: Mapping[str, str], *, builds: bool = True
) -> dict[str, bytes]:
    """Run a job where nothing is but its checkout; what it makes. Where it need not build, no engine works."""
    with build_env(place.user) as runner:
        checkout = runner.directory / "checkout"
        shutil.copytree(place.directory / "checkout", checkout, ignore=shutil.ignore_patterns("here", "out"))
        for path in (checkout, *checkout.rglob("*")):
            shutil.chown(path, runner.user.pw_uid, runner.user.pw_gid)
        if not builds:
            engine = runner.directory / "bin" / "buildah"
            engine.parent.mkdir()
            engine.write_text("#!/bin/sh\nexit 1\n")
            engine.chmod(0o755)
            variables = {**variables, "PATH": f"{engine.parent}:{runner.environment['PATH']}"}
        done = dibo(runner, checkout, script, variables)
        assert done.code == 0, done.err
        if (checkout / "dibo.lock").exists():  # an artefact, which later jobs have
            shutil.copy(checkout / "dibo.lock", place.directory / "checkout")
        else:
            assert done.err.count(": done") > 0, done.err
        return {path.name: path.read_bytes() for path in (checkout / "out").glob("*.tar")}


@pytest.mark.long
def test_jobs_of_gitlab(place: BuildEnv, hub: Registry) -> None:
    pipeline = emitted(place, "gitlab")
    service = {
        "CI_REGISTRY": hub.host,
        "CI_REGISTRY_IMAGE": f"{hub.host}/group/project",
        "CI_REGISTRY_USER": "runner",
        "CI_REGISTRY_PASSWORD": "token",
        "CI_PIPELINE_CREATED_AT": "2026-11-30T06:00:00Z",
        "DIBO_EPOCH": "",
    }
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "script" in job}
    made: dict[str, bytes] = {}
    ended: list[str] = []
    for name, job in jobs.items():
        assert set(job["needs"]) <= set(ended)
        variables = service | {"REGISTRY_AUTH_FILE": "$TMPDIR/auth.json"}
        exports = [f'export {key}="{value}"' for key, value in variables.items()]
        exports.append(f'export DIBO_CACHE="{pipeline["variables"]["DIBO_CACHE"]}"')
        script = "\n".join([*exports, *pipeline["default"]["before_script"], *job["script"]])
        made |= run_job(place, script, {}, builds=name.startswith("layers-"))
        ended.append(name)
    (place.directory / "checkout" / "dibo.lock").unlink()
    assert ended == ["lock", "layers-shared", "layers-web", "layers-plain", "image-web", "image-plain"]
    assert made == artefacts_here(place)
    assert sorted(made) == ["plain.tar", "web.tar"]


def test_jobs_of_github(place: BuildEnv, hub: Registry) -> None:
    jobs = emitted(place, "github")["jobs"]
    cache = {"DIBO_CACHE": f"{hub.host}/cache"}
    made: dict[str, bytes] = {}
    ended: list[str] = []
    for name, job in jobs.items():
        assert job.get("needs") in (None, *ended)
        (bake,) = [step for step in job["steps"] if step.get("name") == "Bake"]
        for entry in job.get("strategy", {"matrix": {"include": [{}]}})["matrix"]["include"]:
            environment = {
                key: value.replace("${{ matrix.image }}", entry["image"])
                for key, value in bake.get("env", {}).items()
            }
            made |= run_job(place, bake["run"], cache | environment)
        ended.append(name)
    assert made == artefacts_here(place)
    assert len(made) == 2


@pytest.mark.parametrize(("service", "page"), [("gitlab", "gitlab-ci.md"), ("github", "github-actions.md")])
def test_pages_show_what_is_written(place: BuildEnv, service: str, page: str) -> None:
    text = (PROJECT / "docs" / "how-to" / page).read_text()
    checkout = place.directory / "checkout"
    project = re.findall(r"(?m)^    # dibo.yaml\n((?:    .*\n)+)", text)[0]
    (checkout / "dibo.yaml").write_text(textwrap.dedent(project))
    shutil.copytree(PROJECT / "examples" / "web-server", checkout / "flavours" / "web-server")
    done = dibo(place, checkout, f"dibo bake --emit {service}")
    assert done.code == 0, done.err
    shown = text.partition("<!-- emitted")[2].partition("```yaml\n")[2].partition("```\n")[0]
    assert shown == Path(done.out.strip()).read_text()
