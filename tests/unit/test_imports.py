"""Imports point one way, and each door to the world is one file.

Every module of dibo is in the table below, in the layer where it belongs. A module may import modules of its own
layer and of those before it; a new module must be added here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "dibo"

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "words",
        (
            "dibo",
            "errors",
            "units",
            "epoch",
            "names",
            "tools",
            "resources",
            "strict_yaml",
            "node",
            "image",
            "manifest",
        ),
    ),
    (
        "what the user wrote",
        (
            "disk",
            "disk.partition",
            "disk.layout_schema",
            "disk.layout",
            "disk.merging",
            "flavour",
            "flavour_yaml",
            "converter",
            "settings",
            "ramdisk",
            "ramdisk.wishes",
            "deployment",
            "deployment.machines",
        ),
    ),
    (
        "thought",
        (
            "base",
            "deployment.form",
            "deployment.script",
            "deployment.status",
            "deployment.ranges",
            "stack",
            "recipe",
            "keys",
            "plan",
            "entry",
            "gate",
            "artefacts",
            "why",
            "tree",
            "packages",
            "manifest_schema",
            "contents",
            "ways",
            "mounts",
            "adapt",
            "ramdisk.init",
            "ramdisk.harvest",
            "ramdisk.elf",
            "ramdisk.programs",
            "ramdisk.depmod",
            "ramdisk.modules",
            "ramdisk.udev",
            "ramdisk.microcode",
            "ramdisk.cpio",
            "disk.identity",
            "disk.placement",
            "disk.table",
            "disk.bootfiles",
            "disk.target",
            "disk.sparse",
            "disk.tee",
            "disk.qcow2_format",
            "disk.qcow2_map",
            "disk.qcow2_codec",
            "disk.fat_format",
            "disk.fat_names",
            "disk.fat",
            "disk.fat_writer",
            "disk.swap",
            "disk.fstab",
            "disk.grub_cfg",
            "disk.gpt",
            "disk.mbr",
            "disk.grub",
            "disk.image",
            "inside",
            "inside.source",
            "inside.qcow2",
            "inside.partitions",
            "disk.found",
            "inside.filesystem",
            "inside.ext_blocks",
            "inside.ext",
            "inside.fat",
            "inside.volumes",
            "inside.kernels",
            "inside.cmdline",
            "ext4",
            "ext4.errors",
            "ext4.protocols",
            "ext4.checksum",
            "ext4.layout",
            "ext4.space",
            "ext4.output",
            "ext4.data",
            "ext4.extents",
            "ext4.inode",
            "ext4.xattrs",
            "ext4.hashes",
            "ext4.directory",
            "ext4.superblock",
            "ext4.groups",
            "ext4.special",
            "ext4.numbering",
            "ext4.plan",
            "ext4.finish",
            "ext4.writer",
            "layers",
            "layers.limits",
            "layers.header",
            "layers.sparse",
            "layers.acl",
            "layers.xattrs",
            "layers.archive",
            "layers.tree",
            "layers.stack",
            "layers.divided",
            "layers.keeping",
            "layers.survey",
            "layers.listing",
            "layers.tar",
        ),
    ),
    (
        "doors",
        (
            "report",
            "process",
            "forward",
            "daemon",
            "workspace",
            "credentials",
            "patience",
            "distribution",
            "registry",
            "fetch",
            "deployment.target",
            "deployment.word",
            "deployment.memory",
            "deployment.listener",
            "boot_server",
            "loader",
            "context",
            "host_hooks",
            "kept",
            "ramdisk.compress",
            "ramdisk.source",
            "ramdisk.lint",
            "ramdisk.make",
            "ramdisk.settings",
            "inside.opened",
            "inside.guestfish",
            "disk.rawfile",
            "disk.qcow2",
            "disk.targets",
            "loop",
            "loop.device",
            "loop.holders",
            "loop.namespace",
            "loop.sweep",
            "loop.mkfs",
            "loop.check",
            "loop.grub",
        ),
    ),
    ("ports", ("ports",)),
    (
        "variants",
        (
            "engines",
            "engines.image_names",
            "engines.listener",
            "engines.buildah_scripts",
            "bases",
            "bases.releases",
            "bases.settings",
            "bases.mirror",
            "bases.signature",
            "bases.signedlist",
            "bases.tarball",
            "bases.image",
            "bases.ubuntu",
            "bases.debian",
            "bases.choose",
            "sources",
            "sources.documents",
            "sources.tarindex",
            "sources.files",
            "sources.blobs",
            "sources.layout",
            "sources.archive",
            "sources.docker_archive",
            "sources.skopeo_dir",
            "sources.registry",
            "sources.docker_daemon",
            "sources.tarsplit",
            "engines.buildah_environment",
            "sources.containers_storage",
            "sources.choose",
            "engines.base_layer",
            "engines.docker_image",
            "unpack",
            "engines.buildah_store",
            "engines.buildah",
            "engines.docker_store",
            "engines.docker_terminal",
            "engines.docker",
            "engines.docker_trial",
            "engines.choose",
            "pack",
            "cache",
            "send",
            "publish",
            "cache_tools",
            "mke2fs",
            "loop.fill",
            "numbered",
            "mkfs",
            "layers.codec",
            "layers.stream",
            "layers.load",
            "layers.spool",
            "save",
            "loop.make",
            "device_hooks",
            "order",
        ),
    ),
    (
        "spine",
        (
            "build",
            "provenance",
            "compare",
            "caching",
            "pushing",
            "layouts",
            "making",
            "filesystems",
            "fitting",
            "programs",
            "writing",
            "loop_disk",
            "disks",
            "ramdisks",
            "convert",
            "containerfile",
            "doctor",
        ),
    ),
    (
        "face",
        (
            "commands",
            "create_command",
            "verify_command",
            "layout_command",
            "cache_commands",
            "convert_command",
            "ramdisk_command",
            "push_command",
            "get_kernel_command",
            "boot_server_command",
            "arguments",
            "cli",
            "__main__",
        ),
    ),
)
PLACES = {module: place for place, (_, modules) in enumerate(LAYERS) for module in modules}

DOORS = {
    "subprocess": {"process"},
    "oras": {"distribution"},
    "requests": {"distribution"},
    "urllib3": {"distribution", "daemon"},  # docker's SDK lets its errors through
    "docker": {"daemon"},
    "urllib.request": {"fetch"},
    "http": {"fetch", "deployment.listener"},  # as a client, and as a server
    "ssl": {"fetch"},
    "socket": {"deployment.listener", "deployment.word"},
    "argparse": {"cli", "arguments"},
    "argcomplete": {"cli", "commands"},
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "dibo"


MODULES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.AST) -> set[str]:
    """Full names of modules that are imported anywhere in `tree`, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module is"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def own(tree: ast.AST) -> set[str]:
    """Modules of dibo that are imported, named as in the table."""
    found = {name.removeprefix("dibo.") for name in imports(tree) if name.split(".")[0] == "dibo"}
    return found & set(MODULES)


def test_every_module_has_a_place_and_only_one() -> None:
    listed = [module for _, modules in LAYERS for module in modules]
    assert sorted(listed) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    wrong = {other for other in own(MODULES[module]) if PLACES[other] > PLACES[module]}
    assert not wrong, f"{module} ({LAYERS[PLACES[module]][0]}) imports {sorted(wrong)} of a later layer"


def test_no_circles() -> None:
    """Within a layer too: modules can be put in a row in which each imports only earlier ones."""
    left = {module: own(tree) - {module, "dibo"} for module, tree in MODULES.items()}
    while left:
        free = {module for module, others in left.items() if not others & left.keys()}
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {module: others for module, others in left.items() if module not in free}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_one_file(door: str) -> None:
    users = {
        module
        for module, tree in MODULES.items()
        if any(name == door or name.startswith(f"{door}.") for name in imports(tree))
    }
    assert users == DOORS[door]


def calls(tree: ast.AST, *names: str) -> set[str]:
    """Which of `names`, such as print or os.fork, are called in `tree`."""
    found = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return found & set(names)


def test_only_the_report_prints() -> None:
    assert {module for module, tree in MODULES.items() if calls(tree, "print", "sys.stdout.write")} == {
        "report"
    }


def test_nobody_starts_processes_in_other_ways() -> None:
    ways = (
        "os.system",
        "os.popen",
        "os.fork",
        "os.execv",
        "os.execvp",
        "os.posix_spawn",
        "os.spawnv",
        "pty.spawn",
    )
    assert not {module for module, tree in MODULES.items() if calls(tree, *ways)}


def test_thought_knows_no_clock_no_environment_and_no_disk() -> None:
    """What is pure stays pure: from the words to the plan."""
    impure = {"os", "time", "subprocess", "socket", "shutil", "tempfile", "random", "secrets"}
    for _, modules in LAYERS[:3]:
        for module in modules:
            assert not imports(MODULES[module]) & impure, module
