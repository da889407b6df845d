"""Parts that tests of bases which are a root share: what a root has whose sources name an archive, and plans on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dibo.build.bases.root_base import RootBase
from dibo.build.package_choice import choose_packages
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, make_plan
from tests.support.flavours import read_recipe
from tests.support.images.apt_roots import APT, CHANGED, KEYRING, sources, stanza
from tests.support.servers.debian_archive import RELEASE, DebianArchive

SECURITY = f"{RELEASE}-security"
NEWER = CHANGED + 86400
MakeRootBase = Callable[..., RootBase]


def files_of(archive: DebianArchive, **more: str) -> dict[str, str | bytes]:
    listed = sources(f"{archive.url}/debian/", RELEASE) + "\n" + sources(f"{archive.url}/security", SECURITY)
    return {
        "var/lib/dpkg/status": APT + stanza("library", "2.0-1", Depends="libc"),
        "etc/apt/sources.list.d/ubuntu.sources": listed,
        KEYRING: archive.keyring.read_bytes(),
        **more,
    }


def plan_of(base: RootBase, flavours: Path, *names: str, epoch: str = "2026-11") -> Plan:
    recipe, resolution = choose_packages(read_recipe(flavours, *names), base)
    return make_plan(
        recipe,
        base_name=base.name,
        base_ingredients=base.ingredients(),
        resolution=resolution,
        inputs=KeyInputs(runner="ab" * 32, epoch=epoch),
        held=lambda _: False,
    )


def listed(plan: Plan) -> dict[str, list[str]]:
    return {
        planned.step.flavour: [f"{package.name} {package.version}" for package in planned.step.resolved]
        for planned in plan.steps
        if planned.step.resolved is not None
    }
