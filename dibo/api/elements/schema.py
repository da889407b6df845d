"""The documents of `dibo elements`, for the JSON schema."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import count, document, list_of, map_of, one_of, text, texts
from dibo.elements.checks.check import Verdict
from dibo.elements.checks.findings import Severity

ELEMENTS: Final = document(
    "elements",
    "`dibo elements list` and `dibo elements show`",
    elements=list_of(
        "elements by name, or those that were named",
        {
            "name": text("its name"),
            "path": text("its directory"),
            "shadows": texts("directories of the same name that it hides"),
            "needs": texts("what its element-deps has"),
            "provides": texts("what its element-provides has"),
            "replaced": text("what dibo does in its place; empty if nothing"),
            "scripts": map_of("names of its scripts, by phase", texts("scripts")),
            "data": texts("its other parts: lists, maps, sources, disks"),
        },
    ),
)
ELEMENTS_CHECK: Final = document(
    "elements-check",
    "`dibo elements check`, also if some do not run",
    elements=list_of(
        "elements by name",
        {
            "name": text("its name"),
            "path": text("its directory"),
            "verdict": one_of("whether it runs unchanged", *(verdict.value for verdict in Verdict)),
            "reason": text("what dibo does in its place; empty if nothing"),
            "findings": list_of(
                "why it does not run, and what a cache does not notice",
                {
                    "severity": one_of("an obstacle keeps it from running", *(one.value for one in Severity)),
                    "code": text("a word for the kind of finding, such as loop-device"),
                    "path": text("file in the element"),
                    "line": count("line of the file; 0 for the whole file"),
                    "more": count("later lines of this file with the same"),
                    "message": text("the problem"),
                    "advice": text("what to do"),
                },
            ),
        },
    ),
)
