"""The kernel's command line: what is to be pulled, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pull.errors import PullError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
FORMATS = ("raw", "qcow2")


@dataclass(frozen=True)
class Wish:
    """Secrets are left out of its repr."""

    image: str
    digest: str = ""
    """Of the image's bytes as they are stored; empty where nobody said."""
    format: str = ""
    file: str = ""
    """The title of one file among several of an artefact."""
    wipe: bool = False
    """Whether a persistent-state partition is overwritten."""
    plain_http: bool = False
    """Whether a registry is asked without TLS."""
    silence: float | None = None
    """Seconds that a server may be silent, where somebody said so."""
    tries: int | None = None
    """How often it is asked without progress, where somebody said so."""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    deployment_id: str = ""
    deployment_key: str = field(default="", repr=False)


def parameters(text: str) -> dict[str, str]:
    """Of each name the first value; a word alone has the value ""."""
    found: dict[str, str] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        found.setdefault(name, value)
    return found


def parse(given: dict[str, str]) -> Wish:
    """Raises PullError."""
    image = given.get("image", "")
    if not image:
        raise PullError("image= is not on the kernel's command line: a URL, or oci://HOST/REPOSITORY:TAG")
    digest = given.get("image_digest", "").lower()
    if digest and DIGEST.fullmatch(digest) is None:
        raise PullError(f"image_digest={digest} is no digest: sha256: and 64 hex digits are wanted")
    kind = given.get("image_format", "")
    if kind and kind not in FORMATS:
        raise PullError(f"image_format={kind} is not known: {', '.join(FORMATS)}, or none to find out")
    state = given.get("persistent_state", "keep")
    if state not in ("keep", "wipe"):
        raise PullError(f"persistent_state={state} is not known: keep or wipe")
    plain = given.get("image_plain_http", "no") or "yes"
    if plain not in ("yes", "no"):
        raise PullError(f"image_plain_http={plain} is not known: yes or no")
    return Wish(
        image=image,
        digest=digest,
        format=kind,
        file=given.get("image_file", ""),
        wipe=state == "wipe",
        plain_http=plain == "yes",
        silence=_number(given, "image_timeout"),
        tries=_number(given, "image_tries"),
        user=given.get("image_user", ""),
        password=given.get("image_password", ""),
        token=given.get("image_token", ""),
        deployment_id=given.get("deployment_id", ""),
        deployment_key=given.get("deployment_key", ""),
    )


def _number(given: dict[str, str], name: str) -> int | None:
    text = given.get(name, "")
    if not text:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,4}", text) is None:
        raise PullError(f"{name}={text} is no number from 1 on")
    return int(text)
