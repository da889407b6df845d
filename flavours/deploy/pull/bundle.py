"""Puts this program into a directory, with the modules of Python's standard library that it imports and no others:

    DIRECTORY/pull/*.py                         this program
    DIRECTORY/dibo/formats/…                    readers of formats, which dibo has, too (../lib)
    DIRECTORY/lib/python3.N/…, lib-dynload/…    PYTHONHOME=DIRECTORY finds them there

Which modules those are, Python itself says, so it is exact for whatever version a root has. Not part of the ramdisk.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LATE = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.punycode",
    "encodings.utf_16_le",
    "encodings.utf_8",
    "os",
    "runpy",
    "traceback",
)
"""What is imported while the program runs: by names of hosts, by headers, by errors; and what Python starts with."""
LIBRARY = Path(__file__).parents[1] / "lib"
"""Modules of dibo that the program shares: of a checkout, links to them."""
_LIST = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
import pull.main
for name in sys.argv[3:]:
    importlib.import_module(name)
print(json.dumps(sorted({module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)})))
"""


def modules() -> list[Path]:
    """The files of the standard library that the program imports."""
    own = Path(__file__).parent
    argv = [sys.executable, "-I", "-S", "-B", "-c", _LIST, str(own.parent), str(LIBRARY), *LATE]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = [Path(path) for path in json.loads(said)]
    return [path for path in found if not path.is_relative_to(own.parent)]


def bundle(directory: Path) -> None:
    """Make the directory."""
    library = Path(sysconfig.get_path("stdlib"))
    copy = directory / "lib" / f"python3.{sys.version_info.minor}"
    (copy / "lib-dynload").mkdir(parents=True)  # Python looks for it, also where all of it is built in
    for path in modules():
        target = copy / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    own = Path(__file__)
    (directory / "pull").mkdir()
    for path in own.parent.glob("*.py"):
        if path != own:
            shutil.copyfile(path, directory / "pull" / path.name)
    for path in LIBRARY.rglob("*.py"):
        target = directory / path.relative_to(LIBRARY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))
