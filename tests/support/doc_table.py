"""How each command that the documentation shows is tried: the table that tests/unit/project/test_doc_commands.py reads.

A command of dibo fits the first pattern that matches it, variables in front included. `run` is run in a temporary
directory with the stand-ins of that test, and ends with one of the codes; `tested` names the test that runs the same
for real, since it takes long or needs what a unit test has not. What fits no pattern fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`codes` are the exit codes of a command that is run; `test` is a test, as pytest names it."""

    codes: tuple[int, ...] = ()
    test: str = ""


def run(*codes: int) -> Trial:
    return Trial(codes=codes or (0,))


def tested(name: str) -> Trial:
    return Trial(test=name)


_LOOP = "tests/integration/test_loop.py::test_the_tree_is_that_of_the_file_converter"
_DOCKER = "tests/integration/test_docker.py::test_the_same_keys_and_trees_as_buildah"

TRIALS: Mapping[str, Trial] = {
    # What needs no engine.
    r"dibo flavours\b": run(),
    r"dibo schema\b": run(),
    r"dibo init --add\b": tested("tests/unit/api/projects/test_init.py::test_an_image_is_added_to_a_file"),
    r"dibo init\b": run(),
    r"dibo completion\b": run(),
    r"dibo plan --layout\b": run(),
    r"dibo doctor\b": run(0, 40),
    r".*dibo key generate\b": run(),
    r"dibo key sign\b": run(),
    r"dibo key verify\b": run(),
    r"dibo push\b": run(),
    r"dibo tree\b": run(),
    r"dibo promote\b": tested("tests/integration/test_referrers.py::test_promoted_between_registries"),
    r"dibo cache (list|verify)\b": run(),
    r"dibo cache prune .*registry\.example": run(),
    r"dibo clean --outputs\b": tested("tests/unit/api/projects/test_clean.py::test_what_images_wrote_goes"),
    r"dibo clean\b": run(),
    r"dibo (plan|why) .*--cache(-from)? ": run(),
    r"disk-image-get-kernel\b": run(),
    r"diskimage-builder --dry-run\b": tested("tests/unit/api/elements/test_images.py::test_a_dry_run"),
    r"diskimage-builder\b": tested(
        "tests/unit/api/elements/test_images.py::test_images_are_built_in_their_order"
    ),
    r"dibo elements list\b": tested("tests/unit/api/elements/test_search.py::test_list"),
    r"dibo elements show\b": tested("tests/unit/api/elements/test_search.py::test_show"),
    r"dibo elements check\b": tested("tests/unit/api/elements/test_search.py::test_check"),
    r"dibo inspect\b": run(),
    r"dibo sbom\b": run(),
    r"dibo provenance\b": tested("tests/integration/test_provenance.py::test_what_was_converted"),
    r"dibo verify --no-build\b": tested("tests/integration/test_provenance.py::test_what_was_converted"),
    r"dibo diff .*web-old": tested("tests/unit/contents/test_compare.py::test_differences_of_all_forms"),
    r"dibo diff\b": run(0, 65),
    r"dibo convert .*--kit\b": tested("tests/boot/test_kit.py::test_an_application"),
    r"DIBO_MICROVM_ROOT=.*dibo convert .*-t microvm\b": tested(
        "tests/boot/test_shapes.py::test_a_microvm_whose_root_is_only_read"
    ),
    r".*dibo convert .*-t microvm\b": tested("tests/boot/test_shapes.py::test_a_microvm"),
    r"dibo convert .*-t (qcow2,)?uki\b": tested(
        "tests/integration/test_convert_shapes.py::test_a_unified_kernel_image_on_the_disk"
    ),
    r"dibo convert .*-t iso\b": tested("tests/boot/test_shapes.py::test_a_live_iso"),
    r"dibo convert .*-t netboot\b": tested("tests/unit/disk/built_in/test_netboot.py::test_what_is_in_it"),
    r"dibo convert .*-t erofs\b": tested(
        "tests/integration/test_types.py::test_a_file_system_that_is_only_read"
    ),
    r"dibo convert (docker://|registry\.example\S* -o root|.*-t tar)": run(),
    r"dibo report\b": run(),
    r"dibo boot --watch\b": tested(
        "tests/integration/test_watched_boot.py::test_a_disk_that_changed_is_booted_anew"
    ),
    r"dibo boot .*--run\b": tested("tests/boot/test_boot.py::test_dibo_boot_runs_commands"),
    r"dibo boot .*--write\b": tested("tests/integration/test_boot_command.py::test_an_image_stays_as_it_is"),
    r"dibo boot .*--screenshot\b": tested(
        "tests/integration/test_boot_command.py::test_a_picture_of_the_screen"
    ),
    r"dibo boot .*--firmware uefi\b": tested(
        "tests/integration/test_boot_command.py::test_uefi_finds_nothing_to_start"
    ),
    r"dibo boot(?!-)\b": tested("tests/integration/test_boot_command.py::test_the_command"),
    r"dibo ssh\b": tested("tests/unit/machines/test_ssh.py"),
    r"dibo bake .*--on tls:": tested("tests/unit/api/fleet/test_cluster.py::test_addresses"),
    r"dibo bake .*--on dask:": tested(
        "tests/integration/test_fleet.py::test_workers_with_stores_of_their_own"
    ),
    r"dibo bake .*--on\b": tested("tests/integration/test_fleet.py::test_on_this_machine"),
    r"dibo bake .*--(emit|layers)\b": tested(
        "tests/integration/test_emitted_pipelines.py::test_jobs_of_gitlab"
    ),
    r"dibo bake .*(--changed-since|--dry-run)": tested("tests/unit/api/baking/test_bake.py"),
    r"dibo bake\b": tested("tests/integration/test_bake.py::test_images_that_share_layers"),
    # What builds, boots, or reads the store of an engine.
    r"dibo cache prune --local": tested("tests/integration/test_store_limit.py"),
    r"dibo lock\b": tested("tests/unit/build/archives/test_locked.py"),
    r"dibo (plan|why)\b": tested("tests/integration/test_cache_commands.py::test_why_nothing_is_missing"),
    r"ramdisk-image-create\b": tested("tests/boot/test_deployment.py"),
    r"(dibo build|disk-image-create) .*--watch\b": tested(
        "tests/integration/test_watch.py::test_a_changed_hook_is_built"
    ),
    r".*disk-image-create .*--loop\b": tested(_LOOP),
    r"dibo convert .*--loop\b": tested(_LOOP),
    r".*disk-image-create .*--engine docker": tested(_DOCKER),
    r"(DIBO_ENGINE|DOCKER_HOST)=": tested(_DOCKER),
    r".*--secret\b": tested("tests/integration/test_secrets.py::test_secrets_end_up_nowhere"),
    r"disk-image-create .*--cache": tested(
        "tests/integration/test_cache.py::test_a_runner_that_starts_from_nothing_finds_every_layer"
    ),
    r".*disk-image-create\b": tested("tests/boot/test_boot.py::test_it_boots_with_this_firmware"),
    r"dibo boot-server\b": tested("tests/boot/test_deployment.py"),
    r"dibo build --kit\b": tested("tests/boot/test_kit.py::test_an_application"),
    r"dibo build .*--push": tested(
        "tests/boot/test_boot.py::test_the_pushed_image_converts_to_the_very_disk_that_the_build_made"
    ),
    r"dibo build\b": tested("tests/integration/test_api.py::test_examples_that_plan_and_build"),
    r"dibo shell\b": tested("tests/integration/test_docker.py::test_a_shell_with_input"),
    r"dibo verify\b": tested("tests/boot/test_twice.py::test_a_disk_with_docker"),
    r"dibo convert .*containers-storage:": tested(
        "tests/integration/test_sources.py::test_the_store_of_an_ordinary_user"
    ),
    r"dibo convert .*docker-daemon:": tested("tests/integration/test_sources.py::test_a_docker_daemon"),
    r"dibo convert .*--verify-key": tested(
        "tests/integration/test_signed_images.py::test_what_the_team_signed_is_converted"
    ),
    r"dibo convert .*(--images-from|images/db)": tested(
        "tests/unit/api/conversions/test_many.py::test_each_is_what_it_is_alone"
    ),
    r"dibo convert\b": tested("tests/integration/test_sources.py::test_copies"),
}

OTHER_PROGRAMS: Mapping[str, str] = {
    # Programs that are not dibo's, and which page or test says how they are used.
    **dict.fromkeys(("make",), "targets are checked: test_targets_of_make_exist"),
    **dict.fromkeys(("check-jsonschema",), "tests/unit/api/test_schema.py"),
    **dict.fromkeys(("dask",), "tests/support/servers/dask_cluster.py"),
    **dict.fromkeys(
        ("mkdir", "cd", "echo", "cat", "chmod", "cp", "rm", "printf", "test", "sed", "set", "ls", "tar"), ""
    ),
    **dict.fromkeys(("export", "eval", "source"), "builtins of a shell; variables are checked"),
    **dict.fromkeys(
        ("apt-get", "usermod", "useradd", "setcap", "sysctl", "systemctl"), "of the administrator"
    ),
    **dict.fromkeys(("python3", "python", "pip", "~/dibo-venv/bin/pip", "/opt/dibo/bin/pip"), "installation"),
    **dict.fromkeys(
        (
            "qemu-system-x86_64",
            "qemu-system-aarch64",
            "qemu-system-arm",
            "qemu-system-riscv64",
            "qemu-img",
            "mformat",
            "mcopy",
            "ssh",
            "ssh-keygen",
        ),
        "tests/boot",
    ),
    **dict.fromkeys(("curl", "wget", "oras", "jq", "gpg", "skopeo", "buildah", "docker", "xargs"), ""),
    **dict.fromkeys(
        ("findmnt", "e2fsck", "ssh-keyscan", "sfdisk", "od", "tee", "zstd", "dd"),
        "in the machine, or in a hook",
    ),
    **dict.fromkeys(
        ("aws", "az", "azcopy", "gcloud", "govc", "vagrant", "openstack", "virsh", "virt-install"),
        "of the clouds",
    ),
    **dict.fromkeys(("fsck.erofs",), "tests/unit/formats/erofs/test_writer.py"),
    **dict.fromkeys(("objdump", "objcopy", "sbverify"), "tests/unit/disk/built_in/test_uki.py"),
    **dict.fromkeys(("xorriso",), "tests/unit/disk/built_in/test_iso.py"),
    **dict.fromkeys(("firecracker", "cloud-hypervisor", "ch-remote"), "monitors of microVMs"),
    **dict.fromkeys(("[", "exit", "if", "fi", "then"), "shell"),
}

STAND_INS = frozenset({"my-flavour"})
"""Flavours that readers replace by their own; the README says so."""

NO_COMMANDS = frozenset(
    {
        "base",
        "boot",
        "data",
        "default",
        "file",
        "from",
        "user",
        "what",
        "kernel",
        "network",
        "disk",
        "image",
        "install",
    }
)
"""First words of lines that are no commands, although a program may be called so."""
