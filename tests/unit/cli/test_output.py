"""--json: one document on standard output, as the schema says, of each command that answers something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dibo import errors
from dibo.api.documents import artefacts
from dibo.api.json_schema import DOCUMENTS, JSON_SCHEMA
from dibo.api.planning import layer_plans, plan_document
from dibo.cli import main
from dibo.cli.commands import COMMANDS, PROGRAMS, parser_of
from dibo.system.report import History
from tests.golden.test_plans import plan_of
from tests.support.disks.boot_disks import ext4, save
from tests.support.flavours import write_flavour
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.schemas import validate
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
Out = pytest.CaptureFixture[str]
Run = Callable[..., tuple[int, dict[str, Any]]]
ONE_OF_ITSELF = {"shell", "boot-server", "schema", "completion", "sbom", "provenance"}
"""Commands that answer nothing, or in a form of its own."""


def checked(text: str) -> dict[str, Any]:
    """The one document in `text`, which is one of the schema."""
    document: dict[str, Any] = json.loads(text)
    validate(document, JSON_SCHEMA)
    validate(document, DOCUMENTS[document["document"]])
    return document


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Run:
    """A command with --json: its exit code, and its document."""
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def carried_out(*words: object) -> tuple[int, dict[str, Any]]:
        texts = [str(word) for word in words]
        program = getattr(main, texts[0].replace("-", "_"))
        code = program([*texts[1:], "--json"])
        return code, checked(capsys.readouterr().out)

    return carried_out


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(JSON_SCHEMA)


def test_the_schema_refuses_what_is_none() -> None:
    for document in (
        {},
        {"document": "push", "version": 1},
        {"document": "error", "version": 1, "error": {}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate(document, JSON_SCHEMA)


@pytest.mark.parametrize("command", [*PROGRAMS, *(name for name in COMMANDS if name not in ONE_OF_ITSELF)])
def test_every_command_that_answers_takes_it(command: str) -> None:
    if command in PROGRAMS:
        assert "--json" in parser_of(command).format_help()
        return
    (actions,) = [action for action in parser_of("dibo")._actions if action.dest == "==SUPPRESS=="]
    assert isinstance(actions.choices, dict)
    parser = actions.choices[command]
    below = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    for each in below[0].values() if below else [parser]:
        assert "--json" in each.format_help(), each.prog


def test_flavours(run: Run, tmp_path: Path) -> None:
    write_flavour(tmp_path / "mine", "web", ["install.d/10-x", "install.d/data"], yaml="summary: my web\n")
    code, document = run("dibo", "flavours", "--flavours-path", tmp_path / "mine")
    assert (code, document["document"]) == (0, "flavours")
    (web,) = [each for each in document["flavours"] if each["name"] == "web"]
    assert (web["summary"], web["hooks"], web["data"]) == ("my web", ["install.d/10-x"], ["install.d/data"])
    code, document = run("dibo", "flavours", "vm")
    assert [each["name"] for each in document["flavours"]] == ["vm"]


def test_flavours_of_which_one_is_broken(run: Run, tmp_path: Path, capsys: Out) -> None:
    write_flavour(tmp_path / "mine", "good", ["install.d/10-x"])
    write_flavour(tmp_path / "mine", "bad", yaml="summry: typo\n")
    options = ["--flavours-path", str(tmp_path / "mine")]
    code, document = run("dibo", "flavours", *options)
    assert (code, document["document"]) == (errors.FlavourError.exit_code, "flavours")
    assert "good" in [each["name"] for each in document["flavours"]]
    (bad,) = document["broken"]
    assert (bad["name"], bad["path"]) == ("bad", str(tmp_path / "mine" / "bad"))
    assert "summry" in bad["why"]
    assert main.dibo(["flavours", *options]) == errors.FlavourError.exit_code
    said = capsys.readouterr()
    assert "\ngood " in said.out
    assert f"bad  cannot be read: {bad['why']}" in said.out
    assert said.err.startswith(f"dibo: error: {bad['why']}")


def test_what_runs_on_this_machine_is_marked(tmp_path: Path, capsys: Out) -> None:
    write_flavour(tmp_path, "web", ["extra-data.d/10-x", "install.d/20-y"])
    assert main.dibo(["flavours", "--flavours-path", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("web ")]
    assert line.endswith("  [runs hooks on this machine: extra-data.d]")


def test_a_plan() -> None:
    plan = plan_of("web")
    document = plan_document(layer_plans(plan, {plan.base_key: "h/a"}, {plan.image_key: "unsigned"}))
    checked(json.dumps(document))
    assert [layer["cache"] for layer in document["layers"]][:2] == ["h/a", None]
    assert document["layers"][-1]["refused"] == "unsigned"


def test_artefacts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    document = checked(artefacts([tmp_path / "file"], History()).json)
    assert document["artefacts"][0]["size"] == 5000


def test_convert(run: Run, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "layer.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    layout = OciLayout(tmp_path / "image")
    layout.write_index({"latest": layout.image([LayerTar(tar=tmp_path / "layer.tar")])})
    code, document = run(
        "dibo", "convert", f"oci:{tmp_path}/image", "--bare", "-t", "raw", "-o", "web", "-a", "amd64"
    )
    assert (code, document["document"]) == (0, "artefacts")
    assert [each["path"] for each in document["artefacts"]] == ["web.raw"]


def test_kernels(run: Run, tmp_path: Path) -> None:
    image = save(tmp_path / "web.raw", ext4())
    code, document = run("disk-image-get-kernel", image, "--list")
    assert (code, document["document"]) == (0, "kernels")
    assert document["kernels"][0]["kernel"].startswith("/boot/vmlinuz-")
    _, document = run("disk-image-get-kernel", image, "--cmdline")
    assert (document["kernel"], document["ramdisk"]) == ("baremetal-vmlinuz", "baremetal-initrd")
    assert "root=" in document["cmdline"]


def test_a_doctor_that_fails_answers_with_its_findings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dibo.api.upkeep import doctor
    from dibo.build.finding import Finding

    findings = [Finding(title="buildah", works=False, advice="install it"), Finding(title="room", works=True)]
    examination = doctor.Examination(findings=findings)
    monkeypatch.setattr(doctor, "examine", lambda settings, report, **_: examination)
    code, document = run("dibo", "doctor")
    assert (code, document["works"]) == (errors.EngineError.exit_code, False)
    assert [(each["title"], each["works"]) for each in document["findings"]] == [
        ("buildah", False),
        ("room", True),
    ]


def test_registries(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIBO_SIGN_PASSWORD", "")
    code, document = run("dibo", "key", "generate", "my")
    assert (code, document["private_key"], document["public_key"]) == (0, "my.key", "my.pub")
    image = save(tmp_path / "web.raw", ext4())
    with FakeRegistry() as registry:
        code, document = run("dibo", "push", image, f"{registry.host}/disks/web:1")
        assert (code, document["document"]) == (0, "push")
        pushed = document["reference"]
        assert pushed.startswith(f"{registry.host}/disks/web:1@sha256:")
        _, document = run("dibo", "key", "sign", f"{registry.host}/disks/web:1", "--sign-key", "my.key")
        assert document["reference"] == pushed
        _, document = run("dibo", "key", "verify", f"{registry.host}/disks/web:1", "--verify-key", "my.pub")
        assert (document["reference"], document["signed_by"]) == (pushed, "my.pub")
        _, document = run("dibo", "cache", "list", f"{registry.host}/cache")
        assert (document["document"], document["entries"], document["size"]) == ("cache-list", [], 0)
        _, document = run("dibo", "cache", "verify", f"{registry.host}/cache")
        assert (document["document"], document["layers"]) == ("cache-verify", 0)
        _, document = run("dibo", "cache", "prune", f"{registry.host}/cache", "--older-than", "3")
        assert (document["document"], document["layers"], document["removed"]) == ("cache-prune", [], False)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("flavours no-such-flavour", errors.UnknownFlavour),
        ("plan --no-such-option vm", errors.UsageError),
        ("plann vm", errors.UsageError),
        ("plan", errors.UsageError),
        ("convert oci:no-such-directory", errors.ImageError),
        ("verify no-such-image", errors.ManifestError),
    ],
)
def test_errors(line: str, kind: type[errors.DiboError], run: Run) -> None:
    code, document = run("dibo", *line.split())
    error = document["error"]
    assert (code, error["exit_code"], error["kind"]) == (kind.exit_code, kind.exit_code, kind.__name__)
    assert error["message"]


def test_an_error_is_said_to_people_too(capsys: Out) -> None:
    main.dibo(["flavours", "no-such-flavour", "--json"])
    assert "there is no flavour 'no-such-flavour'" in capsys.readouterr().err
    main.dibo(["flavours", "no-such-flavour"])
    assert capsys.readouterr().out == ""


PROGRAM = """
import os, signal, sys
from dibo.api import flavours as api
from dibo.cli.main import dibo
def fail(settings, report):
    {statement}
api.list_flavours = fail
sys.exit(dibo())
"""


@pytest.mark.parametrize(
    ("statement", "kind", "code"),
    [
        ("{}['x']", "Defect", errors.Defect.exit_code),
        ("os.kill(os.getpid(), signal.SIGTERM)", "Interrupted", 128 + signal.SIGTERM),
        ("raise OSError(28, 'No space left on device')", "DiboError", errors.DiboError.exit_code),
    ],
)
def test_other_ends(statement: str, kind: str, code: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{statement}", statement), "flavours", "--json"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    error = checked(done.stdout)["error"]
    assert (done.returncode, error["exit_code"], error["kind"]) == (code, code, kind)


@pytest.mark.parametrize(
    "words",
    ["convert {} -o web", "key verify {}", "plan vm --base {}", "plan vm --base {}@sha256:" + 64 * "a"],
)
def test_a_registry_that_nothing_is_accepted_from_is_not_asked(run: Run, tmp_path: Path, words: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("repositories: {}\ndefault: {accept: nothing}\n")
    with FakeRegistry() as registry:
        line = words.format(f"{registry.host}/team/web:1")
        code, document = run("dibo", *line.split(), "--policy", policy)
        assert (code, registry.state.asked) == (errors.SignatureError.exit_code, [])
    assert document["error"]["message"] == f"the policy accepts nothing from {registry.host}/team/web"


def test_a_limit_on_open_files_is_named(tmp_path: Path) -> None:
    statement = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); os.dup(0)"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{statement}", statement), "flavours"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == errors.DiboError.exit_code
    assert "Too many open files" in done.stderr
    assert "`ulimit -n` shows the limit" in done.stderr
