"""The frame of a page: one style, one script, and a policy that lets a browser take nothing else (CSP Level 3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dibo import __version__
from dibo.reports.markup import Child, Markup, tag

_ASSETS: Final = Path(__file__).with_name("assets")
_COMMENT: Final = re.compile(r"^\s*(?://.*|/\*.*\*/)?\n", re.MULTILINE)


def closed_page(title: str, body: Sequence[Child], *, scripts: Sequence[str]) -> bytes:
    """A whole page, as UTF-8. `scripts` are names of assets, which become one script behind the body."""
    style, script = _asset("page.css"), "\n".join(map(_asset, scripts))
    policy = (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"dibo {__version__}"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    document = tag("html", head, tag("body", *body, tag("script", Markup(script))), lang="en")
    return f"<!DOCTYPE html>\n{document.html}\n".encode()


def navigation(content: Markup) -> Markup:
    """A link to each heading of the second level."""
    headings = re.findall(r'<h2 id="([a-z]+)">([^<]+)</h2>', content.html)
    links = [tag("li", tag("a", Markup(title), href=f"#{name}")) for name, title in headings]
    return tag("nav", tag("ul", *links), aria_label="Parts of the report")


def _asset(name: str) -> str:
    """Without its comments and empty lines."""
    text = (_ASSETS / name).read_text(encoding="utf-8")
    return _COMMENT.sub("", text)


def _source(text: str) -> str:
    """A source of a policy that names the content (CSP Level 3, hash-source)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
