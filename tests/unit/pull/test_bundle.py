"""The program with only those files of Python's library that go into the ramdisk."""

from __future__ import annotations

import ast
import gzip
import hashlib
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.flavours.loader import load_flavour
from dibo.flavours.model import FlavourKind
from pull import bundle
from tests.support.disks.gpt_disks import MIB, make_disk, problems_of
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.servers.fake_web_server import FakeWebServer, make_certificate
from tests.support.timeouts import TIMEOUT
from tests.unit.pull.test_qcow2 import made
from tests.unit.pull.test_registry import put

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
_CALL = """
import sys
from pull.main import Machine, deploy
from pull.web import Patience
disk, authorities, *words = sys.argv[1:]
machine = Machine(disk, "", "192.0.2.7", "", authorities=authorities or None, patience=Patience(pauses=()))
print(deploy(dict(word.split("=", 1) for word in words), machine, print))
assert all(path.startswith(sys.prefix) for path in sys.path[1:]), sys.path
files = {getattr(m, "__file__", None) or sys.prefix for m in sys.modules.values()}
outside = {name for name in files if not name.startswith(sys.prefix)}
assert not outside, outside
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "home"
    bundle.bundle(directory)
    return directory


def call(home: Path, disk: Path, *given: str, authorities: str = "") -> str:
    argv = [sys._base_executable, "-S", "-s", "-B", "-c", _CALL, str(disk), authorities, *given]  # type: ignore[attr-defined]
    environment = {"PYTHONHOME": str(home), "PYTHONPATH": str(home)}
    done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_it_is_small_and_has_no_more_than_it_needs(home: Path) -> None:
    files = [path for path in home.rglob("*") if path.is_file()]
    # How large extension modules are is Python's builder's choice.
    assert sum(path.stat().st_size for path in files if path.suffix == ".py") < 3 << 20
    names = {path.name for path in files}
    assert {"main.py", "os.py", "idna.py", "ssl.py"} <= names
    assert not {"bundle.py", "subprocess.py", "argparse.py", "unittest"} & names
    assert not list(home.rglob("*.pyc"))


def test_modules_of_dibo_that_go_into_the_ramdisk_import_nothing_else_of_it() -> None:
    """Nor any package: the ramdisk has none. They are dibo's own, not copies, and run on Python 3.10."""
    bundled = {path.relative_to(bundle.LIBRARY).as_posix() for path in bundle.LIBRARY.rglob("*.py")}
    assert bundled >= {
        "dibo/formats/magic.py",
        "dibo/formats/partitions/gpt.py",
        "dibo/formats/qcow2/format.py",
    }
    for name in bundled:
        path = PROJECT / name
        assert (bundle.LIBRARY / name).read_bytes() == path.read_bytes()
        tree = ast.parse(path.read_text(), feature_version=(3, 10))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for imported in names:
                top = imported.partition(".")[0]
                if top == "dibo":
                    modules = {imported, imported.rpartition(".")[0]}
                    paths = {f"{module.replace('.', '/')}.py" for module in modules}
                    assert paths & bundled, f"{name}: {imported}"
                else:
                    assert top in sys.stdlib_module_names, f"{name}: {imported}"


def test_the_flavour_has_them_as_files() -> None:
    """Its key covers their bytes, and a step sees files, not links that lead out of what it is given."""
    flavour = load_flavour(PROJECT / "flavours/deploy")
    shared = [file for file in flavour.files if file.path.startswith("lib/")]
    assert shared and all(file.kind is FlavourKind.FILE for file in shared)
    for file in shared:
        data = (PROJECT / file.path.removeprefix("lib/")).read_bytes()
        assert file.digest == hashlib.sha256(data).hexdigest()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(20 * MIB))
    return path


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    return make_disk(tmp_path / "image", 16, {"root": (1, 8)})


def test_a_qcow2_from_a_registry_with_nothing_else(
    home: Path, disk: Path, image: bytes, tmp_path: Path
) -> None:
    data = made(tmp_path, image, "compression_type=zstd", convert=("-c",))
    with FakeRegistry() as fake_registry:
        fake_registry.state.tokens = True
        put(fake_registry, data)
        said = call(home, disk, f"image=oci://{fake_registry.host}/team/web:1")
    assert f"writing sha256:{hashlib.sha256(data).hexdigest()}" in said
    assert problems_of(disk) == ""


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_compressed_image_over_tls_with_nothing_else(
    home: Path, disk: Path, image: bytes, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    certificate = make_certificate(tmp_path)
    with FakeWebServer() as web:
        web.secure(certificate)
        web.site.files["/x"] = compress(image)
        web.site.files["/x.sha256"] = hashlib.sha256(web.site.files["/x"]).hexdigest().encode()
        said = call(home, disk, f"image={web.url}/x", authorities=str(certificate))
    assert "the digest holds" in said
    assert problems_of(disk) == ""


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("https://ünknown.invalid/x", "its name is not known"),
        (f"https://{'ü' * 80}.invalid/x", "is no name of a host"),
        ("oci://nowhere.invalid/x", "its name is not known"),
    ],
    ids=["unknown", "no name", "unknown registry"],
)
def test_failures_with_nothing_else(home: Path, disk: Path, image: str, said: str) -> None:
    """They want modules of their own."""
    zero = f"image_digest=sha256:{'0' * 64}"
    assert said in call(home, disk, f"image={image}", zero)
