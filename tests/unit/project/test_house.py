"""The shape of the package: few files at the top, small folders and files, one class name for one thing.

tools/measure-house does the measuring; run it for the whole table.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.tools import load_tool, modules

PROJECT = Path(__file__).parents[3]

FILES_AT_THE_TOP = 6
FILES_IN_A_FOLDER = 25

OPEN_HOMONYMS: frozenset[str] = frozenset()
"""Class names that still stand for several things. Remove a name once it is unique; add none."""

PRONOUNS_AS_IDENTIFIERS = 4
"""Identifiers of dibo that name nothing, such as `found`. Lower the number when there are fewer; never raise it."""

OPEN_BOOLEANS = frozenset({"construct_mapping"})
"""Functions that still take a boolean by position (`construct_mapping` overrides PyYAML's, which does)."""

WITHOUT_A_MODULE = frozenset(
    {
        "boot/test_find_root.py",  # converters/initramfs/find-root
        "elements/test_beside_dib.py",  # tests/support/beside_dib
        "elements/test_bootloader.py",  # containerfiles/elements/own
        "elements/test_debian_minimal.py",  # containerfiles/elements/own
        "elements/test_dib_dependencies.py",  # of resolve
        "elements/test_dib_elements.py",
        "elements/test_runner.py",  # containerfiles/elements/runner
        "build/bases/test_root_faults.py",  # of root_base
        "build/test_deferred.py",  # containerfiles/runner/deferred
        "build/test_runner.py",  # containerfiles/runner
        "disk/test_disk_texts.py",  # flavours/boot-files
        "flavours/test_burn_in.py",
        "flavours/test_builtin_flavours.py",
        "flavours/test_persistent_state.py",
        "flavours/test_grow_root.py",
        "flavours/test_root_disk.py",
        "flavours/test_without_metadata.py",
        "formats/ext4/test_directories.py",
        "formats/ext4/test_limits.py",
        "images/sources/test_bad_layouts.py",
        "ramdisk/test_init_disks.py",  # converters/initramfs/init.d
        "kits/test_machine_scripts.py",  # converters/kit
        "kits/test_scripts.py",
        "ramdisk/test_udhcpc.py",  # converters/initramfs/udhcpc
        "ramdisk/test_virtual_interfaces.py",  # converters/initramfs/init.d
    }
)
"""Unit tests of what is no module of dibo: shipped flavours, scripts, aspects of a whole folder."""


HOUSE = load_tool("measure-house")


def test_few_files_at_the_top() -> None:
    assert HOUSE.files_by_folder(modules())["."] <= FILES_AT_THE_TOP


def test_no_folder_is_too_large() -> None:
    large = {name: n for name, n in HOUSE.files_by_folder(modules()).items() if n > FILES_IN_A_FOLDER}
    assert not large


def test_each_folder_says_what_it_is_for() -> None:
    """What is in it, and what others may use: at the top in several lines, below in at least one."""
    texts = {
        module.path.parent: ast.get_docstring(module.tree) or ""
        for module in modules()
        if module.path.name == "__init__.py"
    }
    assert [str(path) for path, text in texts.items() if not text] == []
    assert [str(path) for path, text in texts.items() if len(path.parts) == 1 and text.count("\n") < 3] == []
    assert {module.path.parent for module in modules()} == texts.keys()


def test_no_file_is_too_long() -> None:
    long = {str(module.path) for module in modules() if module.lines > HOUSE.LONG_FILE}
    assert not long, "a file this long usually does two things"


def test_no_function_is_too_long() -> None:
    long = {name for name, lines in HOUSE.function_lines(modules()).items() if lines > HOUSE.LONG_FUNCTION}
    assert not long


def test_what_a_command_does_reads_as_a_table_of_contents() -> None:
    """`run` of each command; the table of its options stands beside it."""
    functions = {
        module.path.name: node
        for module in modules()
        if module.path.parts[0] == "cli"
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    }
    assert len(functions) > 15
    assert {name for name, node in functions.items() if (node.end_lineno or 0) - node.lineno >= 40} == set()


def test_one_class_name_for_one_thing() -> None:
    new = {name: paths for name, paths in HOUSE.homonyms(modules()).items() if name not in OPEN_HOMONYMS}
    assert not new, "choose another name, or start it with an underscore where it is private"


def test_no_long_parameter_list() -> None:
    assert not HOUSE.long_parameter_lists(modules()), "pass a value that has a name"


def test_no_new_boolean_by_position() -> None:
    entries = HOUSE.boolean_positional_parameters(modules())
    assert not {entry for entry in entries if entry.split()[1].partition("(")[0] not in OPEN_BOOLEANS}


def test_identifiers_say_what_they_hold() -> None:
    pronouns = HOUSE.pronoun_identifiers(modules())
    assert pronouns.total() <= PRONOUNS_AS_IDENTIFIERS, pronouns


def test_no_open_name_is_stale() -> None:
    """A name that is mended leaves its list, or the list would hide the next one."""
    booleans = {
        entry.split()[1].partition("(")[0] for entry in HOUSE.boolean_positional_parameters(modules())
    }
    tests = {
        str(path.relative_to(PROJECT / "tests/unit")) for path in (PROJECT / "tests/unit").rglob("test_*.py")
    }
    stale = (
        OPEN_HOMONYMS - set(HOUSE.homonyms(modules())),
        OPEN_BOOLEANS - booleans,
        WITHOUT_A_MODULE - tests,
    )
    assert not any(stale), stale


def test_unit_tests_mirror_the_package() -> None:
    """tests/unit/X/test_y.py tests dibo/X/y.py, or the folder dibo/X/y."""
    unit, package = PROJECT / "tests/unit", PROJECT / "dibo"
    paths = [path.relative_to(unit) for path in sorted(unit.rglob("test_*.py"))]
    stray = {
        str(path)
        for path in paths
        if path.parts[0] not in ("project", "pull")
        and not _subject(package, path)
        and str(path) not in WITHOUT_A_MODULE
    }
    assert not stray, f"no module of the same name; move the tests, or list them in {__name__}"


def _subject(package: Path, test: Path) -> bool:
    name = test.stem.removeprefix("test_")
    return (package / test.parent / f"{name}.py").exists() or (package / test.parent / name).is_dir()
