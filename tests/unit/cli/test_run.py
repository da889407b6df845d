"""Commands on a terminal: what is short draws nothing, and needs no rich for it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.flavours import write_flavour
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.terminal import on_terminal

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from dibo.cli import main
code = getattr(main, sys.argv[1].replace("-", "_"))(sys.argv[2:])
print("with rich" if "rich" in sys.modules else "without rich", code)
"""
BUILDAH = """#!/bin/sh
case "$*" in
--version) echo 'buildah version 1.28.2 (image-spec 1.0.2-dev, runtime-spec 1.0.2-dev)' ;;
info*) echo '{"store": {"GraphRoot": "'"$HOME"'/g", "RunRoot": "'"$HOME"'/r", "GraphDriverName": "overlay"}}' ;;
*images*) echo '[]' ;;
*) echo "unexpected: buildah $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    write_flavour(tmp_path / "flavours", "small", {"install.d/10-x": "#!/bin/sh\ntrue\n"})
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    buildah = tmp_path / "bin" / "buildah"
    buildah.parent.mkdir()
    buildah.write_text(BUILDAH)
    buildah.chmod(0o755)
    return {
        "PATH": f"{buildah.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "IMG_PATH": str(tmp_path / "cache"),
        "FLAVOURS_DIR": str(tmp_path / "flavours"),
        "DIBO_BASE": str(tmp_path / "base.tar"),
        "DIBO_ENGINE": "buildah",
    }


def run(variables: dict[str, str], *words: str, columns: int = 80) -> list[str]:
    with on_terminal(
        [sys.executable, "-c", PROGRAM, *words], columns=columns, variables=variables
    ) as terminal:
        terminal.end()
        rows: list[str] = terminal.rows
        return rows


def test_a_plan_without_rich(variables: dict[str, str]) -> None:
    rows = run(variables, "dibo", "plan", "--no-base", "small")
    assert "build   base base.tar" in "\n".join(rows)
    assert rows[-1] == "without rich 0"


def test_an_error_without_rich(variables: dict[str, str]) -> None:
    rows = run(variables, "dibo", "plan", "smal")
    assert rows[0].startswith("dibo: error: ")
    assert rows[-1] == "without rich 11"


@pytest.mark.parametrize("columns", [80, 200])
def test_a_conversion_ends_with_a_table(variables: dict[str, str], tmp_path: Path, columns: int) -> None:
    layout = OciLayout(tmp_path / "image")
    layout.write_index({"latest": layout.image([LayerTar(tar=tmp_path / "base.tar")])})
    words = (
        "dibo",
        "convert",
        f"oci:{layout.directory}",
        "-t",
        "tar",
        "-o",
        str(tmp_path / "x"),
        "--checksum",
    )
    rows = run(variables, *words, columns=columns)
    names = [row.partition("  ")[0].partition(" (")[0] for row in rows]
    first = names.index("root")  # the name of the image is whole, though it takes rows of its own
    assert [*names[:3], *names[first : first + 3]] == [
        "root: done",
        "tar: done",
        "image",
        "root",
        "tar",
        "total",
    ]
    assert f"oci:{layout.directory}" in "".join(rows[2:first])
    assert rows[first].startswith("root   0 B in 1 files ")
    assert "sha256:" in "".join(rows)
    quiet = run(variables, *words, "--quiet", columns=columns)
    assert quiet[0].startswith(f"{tmp_path}/x.tar"[:columns])


def test_a_verbose_command_is_not_quiet(variables: dict[str, str]) -> None:
    rows = run(variables, "dibo", "build", "-x", "-q", "small")
    assert "not allowed with argument" in rows[0]


def test_lists_are_folded_under_their_column_on_a_terminal(variables: dict[str, str]) -> None:
    rows = run(variables, "dibo", "flavours", columns=60)
    (first,) = [number for number, row in enumerate(rows) if row.startswith("swift-storage ")]
    column = rows[first].index("an OpenStack")
    assert rows[first + 1][:column].isspace()
    assert rows[first + 1][column] != " "


def test_python_looks_for_circles_rarely() -> None:
    """Trees have none, and looking took a sixteenth of the time of a disk."""
    program = (
        "import gc\nfrom dibo.cli.main import dibo\ntry: dibo(['flavours'])\nexcept SystemExit: pass\n"
        "print(gc.get_threshold()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) >= 10_000
