"""What is asked for: the kernel's command line, and references."""

from __future__ import annotations

import pytest

from pull import cmdline, reference
from pull.errors import PullError

DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_the_first_of_two_parameters_counts_as_everywhere_in_the_ramdisk() -> None:
    given = cmdline.parameters("quiet image=https://a/b image=https://c/d  image_plain_http\n")
    assert given == {"quiet": "", "image": "https://a/b", "image_plain_http": ""}
    wish = cmdline.parse(given)
    assert (wish.image, wish.plain_http, wish.wipe, wish.silence) == ("https://a/b", True, False, None)


def test_secrets_are_in_no_repr() -> None:
    text = "image=https://a/b image_password=hush image_token=mum deployment_key=sesame image_timeout=7"
    wish = cmdline.parse(cmdline.parameters(text))
    assert (wish.password, wish.token, wish.deployment_key, wish.silence) == ("hush", "mum", "sesame", 7)
    assert not any(word in repr(wish) for word in ("hush", "mum", "sesame"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quiet", "image= is not on the kernel's command line"),
        ("image=", "image= is not on the kernel's command line"),
        ("image=https://a/b image_digest=abc", "image_digest=abc is no digest"),
        ("image=https://a/b image_digest=md5:abc", "is no digest"),
        ("image=https://a/b image_format=vmdk", "image_format=vmdk is not known: raw, qcow2"),
        ("image=https://a/b persistent_state=maybe", "persistent_state=maybe is not known"),
        ("image=https://a/b image_plain_http=perhaps", "image_plain_http=perhaps is not known"),
        ("image=https://a/b image_tries=0", "image_tries=0 is no number from 1 on"),
        ("image=https://a/b image_timeout=-1", "image_timeout=-1 is no number from 1 on"),
    ],
)
def test_what_makes_no_sense_is_told(text: str, said: str) -> None:
    with pytest.raises(PullError, match=said):
        cmdline.parse(cmdline.parameters(text))


@pytest.mark.parametrize(
    ("text", "host", "repository", "wanted"),
    [
        ("oci://registry.example/images/web:1", "registry.example", "images/web", "1"),
        ("docker://registry.example:5000/web", "registry.example:5000", "web", "latest"),
        (f"localhost/web@{DIGEST}", "localhost", "web", DIGEST),
        (f"[fd00::1]:5000/a/b_c:t@{DIGEST}", "[fd00::1]:5000", "a/b_c", DIGEST),
        ("docker.io/debian", "registry-1.docker.io", "library/debian", "latest"),
    ],
)
def test_references(text: str, host: str, repository: str, wanted: str) -> None:
    found = reference.parse(text)
    assert isinstance(found, reference.Artefact)
    assert (found.host, found.repository, found.reference) == (host, repository, wanted)


def test_urls_lose_what_is_secret_when_they_are_shown() -> None:
    found = reference.parse("https://user:p%40ss@host.example:8443/a/web.qcow2?signature=abc#x")
    assert isinstance(found, reference.File)
    assert found.url == "https://host.example:8443/a/web.qcow2?signature=abc"
    assert found.login == reference.basic("user", "p@ss")
    assert found.shown == "https://host.example:8443/a/web.qcow2"
    assert reference.shown("registry.example/a:1") == "oci://registry.example/a:1"
    assert reference.shown(f"oci://r.example/a@{DIGEST}") == f"oci://r.example/a@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/x", "ftp://… is not known"),
        ("https://host", "names no file"),
        ("https://host:port/x", "is no URL"),
        ("library/debian", "which registry"),
        ("oci://host.example/UPPER", "is no reference"),
        ("oci://host.example/a:", "is not a tag"),
        ("oci://host.example/a@sha256:12", "is not a digest"),
        ("oci://-host.example/a", "is no reference"),
    ],
)
def test_what_is_no_image_is_told(text: str, said: str) -> None:
    with pytest.raises(PullError, match=said):
        reference.parse(text)


def test_loopback() -> None:
    assert all(map(reference.on_loopback, ("localhost", "127.0.0.1:5000", "[::1]:5000", "127.9.9.9")))
    assert not any(map(reference.on_loopback, ("10.0.2.4:5000", "localhost.example", "[fd00::1]")))
