"""Which files of a root hold secrets, by name and content.

    private keys      a PEM or PuTTY header at the start of a line, also behind a certificate; WireGuard, age
    logins            files that programs keep them in, where a password or token is in them
    tokens            of services, and USER:PASSWORD@ in any address: the rules of detect-secrets
    password hashes   in /etc/shadow and its kin: crypt(5), whether or not the account is locked
    identities        SSH host keys and machine-id, in a base, which may have been a machine. In later layers packages
                      make them while they are installed; the last step takes them out, and no machine has them

Files below /usr/lib and the like are packages', who keep test keys there that everybody has: only names count there.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import Final

_PEM: Final = rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_KEY: Final = re.compile(
    rb"\A\s*PuTTY-User-Key-File-|^"
    + _PEM
    + rb"|^AGE-SECRET-KEY-1|^\s*PrivateKey\s*=\s*[A-Za-z0-9+/]{42,43}=",
    re.MULTILINE,
)
_KEY_WORDS: Final = (b"PRIVATE KEY", b"PuTTY-User", b"AGE-SECRET", b"PrivateKey")  # quick to look for
_HASH: Final = re.compile(
    rb"^[^:\n]+:[!*]*(?:\$[0-9a-z]|_[./0-9A-Za-z]{19}|[./0-9A-Za-z]{13}:)", re.MULTILINE
)
_PACKAGED: Final = ("usr/lib/", "usr/share/", "usr/src/", "lib/")
_PROGRAMS: Final = ("usr/bin/", "usr/sbin/", "bin/", "sbin/", "usr/include/", "var/lib/dpkg/", "var/cache/")
"""Where packages' files lie that are read for keys, and not for tokens, which takes longer."""
_SHADOW: Final = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-")
_HOST_KEYS: Final = ("/etc/ssh/ssh_host_*_key",)
_IDENTITY: Final = (*_HOST_KEYS, "/etc/machine-id", "/var/lib/dbus/machine-id")
_LINES: Final = re.MULTILINE | re.IGNORECASE
_ANYTHING: Final = re.compile(rb"\S")
_PASSWORD: Final = re.compile(
    rb"^\s*\"?(?:_?pass(?:word|wd)?|pwd|psk|secret(?:_key)?)\"?\s*[:=]\s*\S", _LINES
)
_TOKEN: Final = re.compile(
    rb"\"?(?:oauth_|auth_?|refresh_|access_|_auth)?token\"?\s*[:=]\s*\S", re.IGNORECASE
)

# (what it is, names of files, what makes it one)
_FILES: Final[tuple[tuple[str, tuple[str, ...], re.Pattern[bytes]], ...]] = (
    ("authorized_keys", ("*/authorized_keys", "*/authorized_keys2", "*/.ssh/authorized_keys*"), _ANYTHING),
    (
        "a login of a registry",
        ("*/.docker/config.json", "*/.dockercfg", "*/containers/auth.json", "*/.dockerconfigjson"),
        re.compile(rb'"(?:auth|identitytoken|password)"\s*:\s*"[^"]'),
    ),
    (
        "a login",
        (
            "*/.netrc",
            "*/_netrc",
            "*/.git-credentials",
            "*/.config/git/credentials",
            "*/.aws/credentials",
            "/etc/apt/auth.conf",
            "/etc/apt/auth.conf.d/*",
            "*/.mylogin.cnf",
            "*/.vault-token",
            "*/.smbcredentials",
            "*/.htpasswd",
            "*/krb5.keytab",
            "*/.gem/credentials",
        ),
        _ANYTHING,
    ),
    ("a login", ("*/.pgpass", "/etc/ppp/*-secrets"), re.compile(rb"^[^#\s]", re.MULTILINE)),
    (
        "a login",
        (
            "*/.my.cnf",
            "*/my.cnf",
            "/etc/mysql/debian.cnf",
            "*/.pypirc",
            "*/.s3cfg",
            "*/rclone.conf",
            "*/.msmtprc",
            "*/.boto",
            "/etc/NetworkManager/system-connections/*",
            "*/wpa_supplicant*.conf",
            "*/.config/gcloud/*",
        ),
        re.compile(_PASSWORD.pattern + rb"|" + _TOKEN.pattern, re.MULTILINE | re.I),
    ),
    ("a login", ("*/.npmrc", "*/npmrc"), re.compile(rb"(?:_auth|_authToken|_password)\s*=\s*\S")),
    (
        "a login of a cluster",
        ("*/.kube/config", "*/kubeconfig", "*.kubeconfig", "/etc/kubernetes/*.conf"),
        re.compile(rb"\b(?:client-key-data|token|password)\s*:\s*\S"),
    ),
    (
        "a token",
        (
            "*/.config/gh/hosts.yml",
            "*/.cargo/credentials",
            "*/.cargo/credentials.toml",
            "*/.terraformrc",
            "*/credentials.tfrc.json",
            "*/.config/hub",
        ),
        _TOKEN,
    ),
    ("a login", ("*/.m2/settings.xml",), re.compile(rb"<(?:password|passphrase)>\s*[^<\s]")),
)
_NAMED: Final = tuple(pattern for _, patterns, _ in _FILES for pattern in patterns)
_PLACEHOLDERS: Final = re.compile(rb"[$<{%*]|pass(?:word|wd)?\Z|secret\Z|x+\Z|\.\.\.", re.IGNORECASE)


def is_suspicious(name: str) -> bool:
    """Whether the content of a file, by its path with a leading slash, is looked at."""
    return not name[1:].startswith(_PACKAGED) or _is(name, _NAMED)


def secret_in(name: str, content: bytes, *, base: bool) -> str:
    """What secret a file holds, for people; empty for none. `base`: whether it is in a base."""
    if base and _is(name, _IDENTITY):
        return "the identity of a machine" if content.strip() not in (b"", b"uninitialized") else ""
    if _is(name, _HOST_KEYS):
        return ""
    if (
        any(word in content for word in _KEY_WORDS)
        and not name[1:].startswith(_PACKAGED)
        and _KEY.search(content)
    ):
        return "a private key"
    if name in _SHADOW:
        return "a password hash" if _HASH.search(content) else ""
    for secret, patterns, rule in _FILES:
        if _is(name, patterns) and rule.search(content):
            return secret
    if b"\0" in content[:1024] or name[1:].startswith((*_PACKAGED, *_PROGRAMS)):
        return ""
    return _token(content)


def _token(content: bytes) -> str:
    for secret, literals, rules in _rules():
        if any(literal in content for literal in literals) and _any(rules, content, secret):
            return secret
    return ""


def _any(rules: tuple[re.Pattern[bytes], ...], content: bytes, secret: str) -> bool:
    if secret != _ADDRESS:
        return any(rule.search(content) for rule in rules)
    for match in (match for rule in rules for match in rule.finditer(content)):
        line = content[content.rfind(b"\n", 0, match.start()) + 1 : match.start()].lstrip()
        if not line.startswith((b"#", b";", b"//")) and not _PLACEHOLDERS.match(match[1]):
            return True
    return False


_ADDRESS: Final = "a password in an address"


@lru_cache
def _rules() -> tuple[tuple[str, tuple[bytes, ...], tuple[re.Pattern[bytes], ...]], ...]:
    """(what it is, texts of which it has one, what it looks like). The rules are those of detect-secrets that are
    certain enough to hold a layer back: tokens with a form of their own. They are made for lines of text; here they see
    whole files, and only such as have one of the texts, which is quick to look for."""
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.basic_auth import BasicAuthDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.npm import NpmDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.stripe import StripeDetector

    detectors = (
        (_ADDRESS, BasicAuthDetector(), (b"://",)),
        ("a token of GitHub", GitHubTokenDetector(), (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")),
        ("a token of GitLab", GitLabTokenDetector(), (b"gl", b"GR1348941")),
        ("a token of npm", NpmDetector(), (b":_authToken",)),
        ("a token of PyPI", PypiTokenDetector(), (b"pypi-",)),
        ("a token of Slack", SlackDetector(), (b"xox", b"XOX", b"slack.com")),
        ("a key of Stripe", StripeDetector(), (b"k_live_",)),
        ("a key of SendGrid", SendGridDetector(), (b"SG.",)),
        ("a key of Azure", AzureStorageKeyDetector(), (b"AccountKey=",)),
    )
    rules = [
        (
            secret,
            literals,
            tuple(re.compile(rule.pattern.encode(), rule.flags & ~re.UNICODE) for rule in detector.denylist),
        )
        for secret, detector, literals in detectors
    ]
    aws = re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
    return (*rules, ("a key of AWS", (b"AKIA", b"ASIA"), (aws,)))


@lru_cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return _pattern(patterns).match(name) is not None
