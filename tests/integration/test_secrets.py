"""Secrets, planted everywhere one can be, and looked for everywhere one can end up.

The values are looked for as they are, in base64 (at each of the three alignments) and as in a URL: in the engine's
store, dibo's cache, the registry, the artefacts with their manifest, what was printed, and the arguments of every
process while the build runs.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env, program
from tests.support.host.docker_build_env import docker_build_env
from tests.support.requirements import need
from tests.support.servers.registry import Registry
from tests.support.servers.registry import registry as registry_at
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

SH = "#!/bin/sh\nset -eu\n"
TOKEN = "tok-8f31c0aa/+?&=17"
PEM_LINE = "bGluZSBvZiBhIHByaXZhdGUga2V5"
CERTIFICATE = f"-----BEGIN SOMETHING-----\n{PEM_LINE}\n-----END SOMETHING-----\n"
VARIABLE = "var-5d0c77fe-value"
PROXY_PASSWORD = "proxypass-e1b2"
EXTRA = "extra-41aa90-private"
VALUES = (TOKEN, PEM_LINE, VARIABLE, PROXY_PASSWORD, EXTRA)

SEES = """

[ "$(stat -c %a:%u /run/secrets/token)" = 400:0 ]
[ "$(stat -c %a:%u /run/secrets/certificate)" = 400:0 ]
[ "$(ls /run/secrets | tr '\\n' ' ')" = "certificate token " ]
mount | grep ' /run/secrets' | grep -q tmpfs
sha256sum < /run/secrets/token > /sum-of-token
[ "$(stat -c %a /tmp/in_target.d/private-file)" = 600 ]
[ -n "$PLANTED_TOKEN" ]
[ "$http_proxy" ] && [ "$no_proxy" = 127.0.0.1 ]
cat /run/secrets/token /run/secrets/certificate; echo
base64 /run/secrets/token
base64 < /run/secrets/certificate
sleep 1
"""


def write_flavours(directory: Path) -> None:
    write_flavour(
        directory,
        "secretive",
        {
            "extra-data.d/10-file": SH
            + 'umask 077; echo "$EXTRA_PASSWORD" > "$TMP_HOOKS_PATH/private-file"\n',
            "install.d/10-sees": SH + SEES,
        },
        yaml="secrets: [token, certificate]\nenvironment: {PLANTED_TOKEN: '', EXTRA_PASSWORD: ''}\n",
    )
    write_flavour(
        directory,
        "stranger",
        {
            "install.d/20-sees-none": SH
            + '[ ! -e /run/secrets/token ]\n[ -z "$(ls /run/secrets 2>/dev/null)" ]\n'
        },
        yaml="needs: [secretive]\n",
    )
    write_flavour(
        directory,
        "fails",
        {"install.d/30-fails": SH + "cat /run/secrets/token; echo; exit 3\n"},
        yaml="secrets: [token]\n",
    )


def forms(value: str) -> Iterator[bytes]:
    data = value.encode()
    yield data
    yield quote(value, safe="").encode()
    for shift in range(3):  # base64 of the value wherever it begins in what was encoded
        encoded = base64.b64encode(bytes(shift) + data)
        yield encoded[(0, 2, 3)[shift] : -4]


NEEDLES = {form: value for value in VALUES for form in forms(value)}


def found_in(data: bytes) -> set[str]:
    return {value for form, value in NEEDLES.items() if form in data}


def found_below(*directories: Path) -> dict[str, set[str]]:
    """Which values are in which files; files with holes count as long as they are."""
    findings: dict[str, set[str]] = {}
    for directory in directories:
        for path in directory.rglob("*"):
            with contextlib.suppress(OSError):
                data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
                if values := found_in(data + b"\0" + os.fsencode(path)):
                    findings[str(path)] = values
    return findings


class Arguments:
    """Samples the arguments of all processes while its body runs."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())
            self.samples += 1
            time.sleep(0.01)

    def __enter__(self) -> Arguments:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def run(
    place: BuildEnv, command: str, *arguments: str | Path, variables: Mapping[str, str], code: int = 0
) -> str:
    """Run a command with variables that stand in no argument; all that it printed."""
    change = []
    if os.geteuid() != place.user.pw_uid:
        ids = ["--reuid", str(place.user.pw_uid), "--regid", str(place.user.pw_gid)]
        change = ["setpriv", *ids, "--init-groups", "--"]
    done = subprocess.run(
        [*change, program(command), *map(str, arguments)],
        env={**place.environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        cwd="/",
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def planted(place: BuildEnv) -> dict[str, str]:
    """The variables that hold secrets; the certificate is in a file."""
    certificate = place.directory / "certificate"
    certificate.write_text(CERTIFICATE)
    certificate.chmod(0o600)
    os.chown(certificate, place.user.pw_uid, place.user.pw_gid)
    return {
        "MY_TOKEN": TOKEN,
        "PLANTED_TOKEN": VARIABLE,
        "EXTRA_PASSWORD": EXTRA,
        "http_proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:9",
        "no_proxy": "127.0.0.1",
    }


def options(place: BuildEnv) -> list[str]:
    return [
        *("--no-base", "--secret", "token=env:MY_TOKEN"),
        *("--secret", f"certificate={place.directory / 'certificate'}"),
    ]


@pytest.fixture(scope="module", params=["buildah", "chroot", "docker"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[BuildEnv, tuple[Path, ...]]]:
    """An environment, and where its engine keeps images."""
    need("buildah", "newuidmap", "busybox", "setpriv")
    builder = user.need_ordinary_user()
    if request.param == "docker":
        with docker_build_env(builder) as (made, daemon):
            write_flavours(made.flavours)
            yield made, (daemon.directory,)
        return
    with build_env(builder) as made:
        if request.param == "chroot":
            made.environment["DIBO_ISOLATION"] = "chroot"
        write_flavours(made.flavours)
        yield made, (made.directory / "data",)


@pytest.fixture(scope="module")
def hub(place: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Path]]:
    directory = tmp_path_factory.mktemp("registry")
    with registry_at(directory) as started:
        yield started, directory


def test_secrets_end_up_nowhere(place: tuple[BuildEnv, tuple[Path, ...]], hub: tuple[Registry, Path]) -> None:
    env, stores = place
    registry, registry_directory = hub
    variables = planted(env)
    output = env.directory / "data" / "image"
    cache = ("--cache", f"{registry.host}/cache", "--layer-compression", "none")
    with Arguments() as arguments:
        printed = run(
            env,
            "disk-image-create",
            "-x",
            "-t",
            "tar",
            "-o",
            output,
            *cache,
            *options(env),
            "stranger",
            variables=variables,
        )
        printed += run(env, "dibo", "plan", "--json", *options(env), "stranger", variables=variables)
        printed += run(env, "dibo", "why", *options(env), "stranger", variables=variables)
        image = ("--push", f"{registry.host}/web:1")
        printed += run(env, "dibo", "build", "-x", *image, *options(env), "stranger", variables=variables)
        failed = run(env, "dibo", "build", *options(env), "fails", code=20, variables=variables)
    assert "****" in printed
    assert "| ****" in failed
    assert arguments.samples > 20
    assert any(b"/run" in argv or b"dibo" in argv for argv in arguments.seen)
    # What a hook is for is told apart from what it must not leave: proxies are seen and printed by nobody here.
    assert found_in((printed + failed).encode()) == set()
    assert {value for argv in arguments.seen for value in found_in(argv)} == set()
    assert (env.directory / "data" / "image.manifest.json").exists()
    assert list((env.cache / "logs").glob("*.log"))
    blobs = [path for path in registry_directory.rglob("data") if path.is_file()]
    assert len(blobs) > 5
    assert found_below(env.cache, env.directory / "data", registry_directory, env.temporary, *stores) == {}
    assert found_below(*Path("/dev/shm").glob("dibo-*")) == {}


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A search that finds nothing proves nothing, unless it would."""
    shapes: Mapping[str, Iterable[bytes]] = {
        "plain": [TOKEN.encode()],
        "url": [b"?t=" + quote(TOKEN, safe="").encode() + b"&x"],
        "base64": [base64.b64encode(b"u" * n + b":" + TOKEN.encode() + b"\n") for n in range(4)],
    }
    for name, contents in shapes.items():
        for number, content in enumerate(contents):
            (tmp_path / f"{name}-{number}").write_bytes(b"before " + content + b" after")
    assert len(found_below(tmp_path)) == 6


def test_a_changed_secret_builds_nothing_again(place: tuple[BuildEnv, tuple[Path, ...]]) -> None:
    env, _ = place
    variables = planted(env)
    run(env, "dibo", "build", *options(env), "stranger", variables=variables)
    changed = {**variables, "MY_TOKEN": "another-value"}
    assert "0 to build" in run(env, "dibo", "plan", *options(env), "stranger", variables=changed)
    # What is cached needs no secret at all.
    run(env, "dibo", "build", "--no-base", "stranger", variables=variables)


def test_a_secret_with_rebuild_builds_again(place: tuple[BuildEnv, tuple[Path, ...]]) -> None:
    env, _ = place
    write_flavour(
        env.flavours,
        "licensed",
        {"install.d/10-licence": SH + "sha256sum < /run/secrets/licence > /licence\n"},
        yaml="secrets: [{name: licence, rebuild: true}]\n",
    )
    command = ("--no-base", "--secret", "licence=env:LICENCE", "licensed")
    run(env, "dibo", "build", *command, variables={"LICENCE": "first-licence"})
    assert "0 to build" in run(env, "dibo", "plan", *command, variables={"LICENCE": "first-licence"})
    assert "2 to build" in run(env, "dibo", "plan", *command, variables={"LICENCE": "other-licence"})
    assert "secret licence differs" in run(
        env, "dibo", "why", *command, variables={"LICENCE": "other-licence"}
    )


def test_a_secret_that_is_missing(place: tuple[BuildEnv, tuple[Path, ...]]) -> None:
    env, _ = place
    write_flavour(
        env.flavours,
        "greedy",
        {"pre-install.d/10-x": SH + "echo ran\n", "install.d/10-x": SH + "true\n"},
        yaml="secrets: [no-such]\n",
    )
    printed = run(env, "dibo", "build", "-x", "--no-base", "greedy", code=2, variables={})
    assert "a secret is missing: 'no-such' (of the flavour 'greedy')" in printed
    assert "--secret no-such=FILE" in printed
    assert "ran" not in printed
