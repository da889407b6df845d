"""The examples of docs/reference/api.md, as text that tests run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.markdown import PROJECT

PAGE = PROJECT / "docs/reference/api.md"


def python_blocks(page: Path) -> list[str]:
    """In the order of the page; signatures in the reference are none."""
    before = page.read_text().partition("<!-- api: from the code -->")[0]
    return re.findall(r"^```python\n(.*?)^```$", before, re.MULTILINE | re.DOTALL)


def needs_engine(block: str) -> bool:
    """Whether it plans or builds."""
    return re.search(r"\b(plan|build)\(", block) is not None


def needs_machine(block: str) -> bool:
    """Whether it boots an image."""
    return re.search(r"\bboot\(", block) is not None
