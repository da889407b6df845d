"""The examples of docs/reference/api.md that plan and build, with buildah, a small base and a registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.api_examples import PAGE, needs_engine, python_blocks
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.installed_dibo import installed_dibo
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.integration


@pytest.fixture
def lab() -> Iterator[BuildEnv]:
    with build_env(user.need_ordinary_user()) as made:
        yield made


def _adapted(code: str, lab: BuildEnv, registry: FakeRegistry) -> str:
    """With a base of busybox alone, in which the flavours base and vm cannot be."""
    code = code.replace("registry.example/roots/debian:1", str(lab.directory / "base.tar"))
    code = code.replace("registry.example", registry.host).replace("our-flavours", str(lab.flavours))
    return code.replace('["vm", "web-server"]', '["web-server"]').replace(
        "    flavours_path=", "    with_base=False,\n    flavours_path="
    )


def test_examples_that_plan_and_build(lab: BuildEnv) -> None:
    write_flavour(lab.flavours, "web-server", {"install.d/50-site": "#!/bin/sh\necho built > /etc/site\n"})
    with FakeRegistry() as registry:
        blocks = [_adapted(block, lab, registry) for block in python_blocks(PAGE) if needs_engine(block)]
        ends = (
            "import os\n"
            "assert {'web.manifest.json', 'web.qcow2', 'web.raw'} <= {*os.listdir()}, os.listdir()\n"
            "assert not plan(['web-server'], options=options).to_build\n"
        )
        work = lab.directory / "data" / "work"
        start = f"import os\nos.mkdir({str(work)!r})\nos.chdir({str(work)!r})\n"
        script = lab.directory / "example.py"
        script.write_text("\n".join([start, *blocks, ends]))
        answer = lab.run(str(installed_dibo() / "python"), script)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert [line.split(" ", 1)[1] for line in answer.out.splitlines()[:3]] == [
        "base base.tar",
        "web-server install.d: 50-site",
        "finalise",
    ]
    assert lab.left() == []
