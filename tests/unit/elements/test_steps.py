"""What steps of elements run and see, and what their keys cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.build.element_context import describe_element
from dibo.elements.granted import Grants
from dibo.elements.loader import ElementCatalogue
from dibo.elements.resolve import resolve
from dibo.elements.stack import MixedStack, users_variables
from dibo.elements.steps import ElementStep, make_steps
from dibo.errors import FlavourError
from dibo.plan.keys import Document, KeyInputs, difference, step_documents
from dibo.plan.recipe import make_recipe
from tests.unit.elements.test_loader import write

SCRIPT = "#!/bin/bash\n"


def steps_of(
    *directories: Path,
    asked: tuple[str, ...] = ("os", "web"),
    variables: Mapping[str, str] | None = None,
    packages: tuple[str, ...] = (),
    home: Path = Path("/nowhere"),
) -> tuple[ElementStep, ...]:
    catalogue = ElementCatalogue(directories)
    elements = resolve(asked, catalogue.get, exists=catalogue.__contains__)
    return make_steps(elements, variables=variables or {}, packages=packages, grants=Grants(home))


def keys_of(*directories: Path, **options: object) -> dict[str, str]:
    """Keys by the titles of steps."""
    steps = steps_of(*directories, **options)  # type: ignore[arg-type]
    recipe = make_recipe(
        MixedStack(flavours=(), elements=(), element_steps=steps), architecture="amd64", environment={}
    )
    documents = step_documents(recipe, base_key="base", inputs=KeyInputs(runner="r", epoch="e"))
    return {step.title: key for step, (key, _) in zip(recipe.steps, documents, strict=True)}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    directory = tmp_path / "theirs"
    write(
        directory,
        "os",
        element_provides="operating-system",
        environment_d_10_os="export DIB_RELEASE=${DIB_RELEASE:-x}\n",
        root_d_10_os=SCRIPT,
        extra_data_d_20_os=f"{SCRIPT}cat $IMAGE_ELEMENT_YAML\n",
        pre_install_d_01_bin=f"{SCRIPT}install $(dirname $0)/../bin/* /usr/local/bin\n",
        install_d_10_static=f"{SCRIPT}cp -a $(dirname $0)/../static/. /\n",
        install_d_99_os=f"{SCRIPT}echo $DIB_COLOUR\n",
        cleanup_d_10_os=SCRIPT,
        bin__tool="#!/bin/sh\n",
    )
    return directory


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    directory = tmp_path / "ours"
    write(directory, "web", install_d_50_web=SCRIPT, static__etc__web="1", package_installs="nginx:\n")
    return directory


def test_outside_a_phase_is_one_step_and_inside_one_for_each_directory(theirs: Path, ours: Path) -> None:
    assert [step.title for step in steps_of(ours, theirs)] == [
        "elements root.d: 10-os",
        "elements extra-data.d: 20-os",
        "elements pre-install.d: 01-bin",
        "elements install.d: 10-static",
        "elements install.d: 50-web",
        "elements install.d: 99-os",
        "elements cleanup.d: 10-os",
    ]


def test_steps_of_one_phase_share_it_without_gaps(theirs: Path, ours: Path) -> None:
    between = [(step.after, step.until) for step in steps_of(ours, theirs) if step.phase == "install.d"]
    assert between == [("", "10-static"), ("10-static", "50-web"), ("50-web", "")]


def test_packages_of_the_command_line_come_after_install(theirs: Path) -> None:
    titles = [step.title for step in steps_of(theirs, asked=("os",), packages=("vim", "jq"))]
    assert titles[-2:] == ["elements install.d: packages jq, vim", "elements cleanup.d: 10-os"]


def test_a_step_sees_what_its_scripts_speak_of(theirs: Path, ours: Path) -> None:
    seen = {step.title: {hook.path for hook in step.hooks} for step in steps_of(ours, theirs)}
    settings = "environment.d/10-os"
    assert seen["elements root.d: 10-os"] == {settings, "root.d/10-os"}
    assert seen["elements pre-install.d: 01-bin"] == {settings, "pre-install.d/01-bin", "bin/tool"}
    assert seen["elements install.d: 10-static"] == {settings, "install.d/10-static", "static/etc/web"}
    assert seen["elements install.d: 50-web"] == {settings, "install.d/50-web"}
    assert "package-installs" in seen["elements extra-data.d: 20-os"]
    assert not [path for path in seen["elements extra-data.d: 20-os"] if path.startswith("install.d")]


def test_tracing_reaches_scripts_and_no_key(theirs: Path) -> None:
    (theirs / "os/install.d/99-os").write_text(
        f'{SCRIPT}[ "$DIB_DEBUG_TRACE" = 0 ] || set -x\necho $DIB_ENV\n'
    )
    asked, traced = ("os",), {"DIB_DEBUG_TRACE": "1"}
    assert keys_of(theirs, asked=asked, variables=traced) == keys_of(theirs, asked=asked)
    for step in steps_of(theirs, asked=asked, variables=traced):
        assert "export DIB_DEBUG_TRACE=1\n" in describe_element(step)["environment"]


def test_a_changed_script_builds_its_step_and_those_above_again(theirs: Path, ours: Path) -> None:
    before = keys_of(ours, theirs)
    (ours / "web/install.d/50-web").write_text(f"{SCRIPT}exit 0\n")
    after = keys_of(ours, theirs)
    assert [title for title in before if before[title] != after[title]] == [
        "elements install.d: 50-web",
        "elements install.d: 99-os",
        "elements cleanup.d: 10-os",
        "finalise",
    ]


def test_a_variable_is_seen_where_a_script_speaks_of_it(theirs: Path, ours: Path) -> None:
    variables = {"DIB_COLOUR": "red", "DIB_OTHER": "1", "DIB_RELEASE": "y"}
    seen = {step.title: dict(step.variables) for step in steps_of(ours, theirs, variables=variables)}
    assert seen["elements install.d: 99-os"] == {"DIB_COLOUR": "red"}
    assert seen["elements install.d: 50-web"] == {}
    before, after = (keys_of(ours, theirs, variables={"DIB_COLOUR": colour}) for colour in ("red", "green"))
    changed = (title for title in before if before[title] != after[title])
    assert next(changed) == "elements install.d: 99-os"


def test_what_a_setting_is_made_of_matters_where_a_step_speaks_of_it(tmp_path: Path) -> None:
    settings = """\
export DIB_MANIFESTS=${DIB_MANIFESTS:-$DIB_ROOT/${IMAGE_NAME}.d} # where
DIB_ROOT=${DIB_PLACE-/srv}
export DIB_TIME=$(date $DIB_FORMAT)
export DIB_NEEDED=$DIB_OTHER
export PIP_INDEX=${DIB_MIRROR:-none}
"""
    write(
        tmp_path,
        "os",
        element_provides="operating-system",
        environment_d_10_os=settings,
        install_d_10_x=f"{SCRIPT}echo x\n",
        cleanup_d_10_x=f"{SCRIPT}echo $DIB_MANIFESTS\n",
    )
    names = ("MANIFESTS", "ROOT", "PLACE", "TIME", "FORMAT", "NEEDED", "OTHER", "MIRROR")
    variables = {**{f"DIB_{name}": "x" for name in names}, "IMAGE_NAME": "web"}
    install, cleanup = steps_of(tmp_path, asked=("os",), variables=variables)
    always = {"DIB_FORMAT", "DIB_OTHER", "DIB_TIME", "DIB_MIRROR", "DIB_ROOT", "DIB_PLACE"}
    assert {name for name, _ in install.variables} == always
    more = {"DIB_MANIFESTS", "IMAGE_NAME"}
    assert {name for name, _ in cleanup.variables} == always | more


def test_a_word_that_begins_many_names_stands_for_all_of_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        "os",
        element_provides="operating-system",
        extra_data_d_10_x=f"{SCRIPT}env | grep ^DIB_INSTALLTYPE_\n",
        cleanup_d_10_x=f"{SCRIPT}echo $DIB_ENV\n",
    )
    variables = {"DIB_INSTALLTYPE_web": "source", "DIB_OTHER": "1"}
    first, last = steps_of(tmp_path, asked=("os",), variables=variables)
    assert dict(first.variables) == {"DIB_INSTALLTYPE_web": "source"}
    assert dict(last.variables) == variables


def test_a_variable_that_only_a_list_of_packages_speaks_of_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "os", element_provides="operating-system", extra_data_d_10_x=SCRIPT)
    for name in ("os", "web"):
        write(tmp_path, name, element_deps="web" if name == "os" else "")
        (tmp_path / name / "package-installs.yaml").write_text(f"nginx: {{when: DIB_{name} = 1}}\n")
    (step,) = steps_of(tmp_path, asked=("os",), variables={"DIB_os": "1", "DIB_web": "1", "DIB_x": "1"})
    assert [name for name, _ in step.variables] == ["DIB_os", "DIB_web"]


def test_secrets_and_keys_of_the_user_make_a_layer_local(tmp_path: Path) -> None:
    write(
        tmp_path,
        "os",
        element_provides="operating-system",
        extra_data_d_10_key=f"{SCRIPT}cat $DIB_DEV_USER_AUTHORIZED_KEYS ~/.ssh/authorized_keys\n",
        install_d_10_x=f"{SCRIPT}register $REG_PASSWORD\n",
        finalise_d_10_x=SCRIPT,
    )
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAA")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/authorized_keys").write_text("ssh-ed25519 BBBB")
    plain = steps_of(tmp_path, asked=("os",))
    assert [step.local for step in plain] == [False, False, False]
    variables = {"DIB_DEV_USER_AUTHORIZED_KEYS": str(key), "REG_PASSWORD": "x"}
    extra, install, finalise = steps_of(tmp_path, asked=("os",), variables=variables, home=home)
    assert [file.target for file in extra.granted] == [str(key), "/root/.ssh/authorized_keys"]
    assert (extra.local, install.local, finalise.local) == (True, True, False)
    stack = MixedStack(flavours=(), element_steps=(extra, install, finalise))
    recipe = make_recipe(stack, architecture="amd64", environment={})
    assert all(step.local for step in recipe.steps)


def test_the_key_covers_the_bytes_of_a_file_that_a_variable_names(tmp_path: Path) -> None:
    write(
        tmp_path,
        "os",
        element_provides="operating-system",
        extra_data_d_10_apt=f"{SCRIPT}sudo cp $DIB_APT_SOURCES $TMP_MOUNT_PATH/etc/apt/sources.list\n",
    )
    sources = tmp_path / "sources.list"
    variables = {"DIB_APT_SOURCES": str(sources)}
    keys = []
    for text in ("one", "two"):
        sources.write_text(text)
        keys.append(keys_of(tmp_path, asked=("os",), variables=variables)["elements extra-data.d: 10-apt"])
    assert keys[0] != keys[1]


def test_the_difference_of_two_keys_is_told_by_file_and_variable(theirs: Path, ours: Path) -> None:
    def document(colour: str) -> Document:
        steps = steps_of(ours, theirs, variables={"DIB_COLOUR": colour})
        stack = MixedStack(flavours=(), element_steps=steps)
        recipe = make_recipe(stack, architecture="amd64", environment={})
        return step_documents(recipe, base_key="b", inputs=KeyInputs(runner="r", epoch="e"))[5][1]

    before = document("red")
    (theirs / "os/install.d/99-os").write_text(f"{SCRIPT}echo $DIB_COLOUR changed\n")
    assert difference(document("green"), before) == (
        "variable DIB_COLOUR differs",
        "hooks: install.d/99-os changed",
    )


def test_block_device_d_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "os", element_provides="operating-system", block_device_d_10_x=SCRIPT)
    with pytest.raises(FlavourError, match=r"block-device\.d, which dibo does not run"):
        steps_of(tmp_path, asked=("os",))


def test_variables_of_the_session_are_not_for_scripts() -> None:
    environment = {
        "DIB_X": "1",
        "DIB_INSTALLTYPE_web": "source",
        "REG_PASSWORD": "2",
        "PATH": "/bin",
        "DIBO_BASE": "x",
        "lower": "3",
        "LC_ALL": "C",
    }
    assert users_variables(environment) == {
        "DIB_X": "1",
        "DIB_INSTALLTYPE_web": "source",
        "REG_PASSWORD": "2",
    }
    assert replace(MixedStack(flavours=()), base="debian").all_names == ()
