"""Names of outputs, and lists of images."""

from __future__ import annotations

import pytest

from dibo.api.conversions.names import listed, named
from dibo.errors import UsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b c", "line 1: expected IMAGE, or IMAGE NAME"),
        ("\noci:x ../up", "line 2: '../up' is not the name of a file"),
        ("oci:'x", "line 1: No closing quotation"),
        ("oci:x a\0b", r"line 1: 'oci:x a\\x00b' has control characters"),
        ("oci:x 'a\x1b[31m'", "has control characters"),
        ("oci:x\0", "has control characters"),
    ],
)
def test_lists_that_say_nothing(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("..", r"\.\.")):
        list(listed(text, origin="list"))


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("registry.example:5000/images/web:1", "web-1"),
        (f"registry.example/web@sha256:{'ab' * 32}", "web-abababababab"),
        ("docker://debian", "debian"),
        ("oci:some/web-layout", "web-layout"),
        ("oci:some/web-layout:1.2", "web-layout-1.2"),
        ("oci-archive:web.tar", "web"),
        ("docker-archive:/tmp/web.tar.gz:library/web:1", "web-1"),
        ("containers-storage:localhost/web:1", "web-1"),
        ("oci:.", "image"),
    ],
)
def test_names(reference: str, name: str) -> None:
    assert named(reference).name == name
