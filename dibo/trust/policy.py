"""Whose signatures count where: a policy in a file, for a team, or keys given on the command line.

    repositories:
      registry.example/team/cache: {keys: [team.pub]}
      registry.example/team: {keys: [team.pub, release.pub]}
      mirror.example/debian: {keys: [debian.pub], signed-as: registry.example/debian}
      docker.io/library: {accept: unsigned}
    default: {accept: nothing}

A name stands for that repository and those below it, a host alone for all of a registry; the longest name that fits a
repository counts. Files of keys are relative to the policy's file. `default` is for repositories with no rule; where it
is missing, nothing is accepted.
POLICY_SCHEMA says the same to editors.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from dibo.errors import SignatureError, UsageError
from dibo.flavours import strict_yaml
from dibo.images.manifest import digest_of
from dibo.images.reference import DOCKER_HUB, ImageName, parse_repository
from dibo.images.registry.referrers import subject_of
from dibo.settings.settings import Settings
from dibo.system.resources import read_whole
from dibo.trust import attached
from dibo.trust.claims import Claims
from dibo.trust.keys import PASSWORD_VARIABLES, PrivateKey, PublicKey, read_private_key, read_public_key

UNSIGNED: Final = "unsigned"
NOTHING: Final = "nothing"
_RULE: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "keys": {
            "description": "Files of public keys; a signature by one of them is enough.",
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "minLength": 1},
        },
        "signed-as": {
            "description": "The repository that signatures name, where this one is a copy of it.",
            "type": "string",
            "pattern": "^[^/@]+/[^@]+$",
        },
        "accept": {
            "description": "unsigned: use images whether or not they are signed; nothing: use none.",
            "enum": [UNSIGNED, NOTHING],
        },
    },
    "oneOf": [{"required": ["keys"]}, {"required": ["accept"]}],
    "dependentRequired": {"signed-as": ["keys"]},
}
POLICY_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A policy of dibo: whose signatures count in which repository",
    "type": "object",
    "additionalProperties": False,
    "required": ["repositories"],
    "properties": {
        "repositories": {
            "description": "Rules by HOST[:PORT][/PATH], for that repository and those below it.",
            "type": "object",
            "propertyNames": {"pattern": "^[^/@ ]+(/[^@ ]+)?$"},
            "additionalProperties": _RULE,
        },
        "default": _RULE,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What counts in a repository: signatures by one of `keys`; without keys, all images or none."""

    keys: tuple[PublicKey, ...] = ()
    accept: str = NOTHING
    signed_as: ImageName | None = None

    @property
    def open(self) -> bool:
        return not self.keys and self.accept == UNSIGNED


OPEN: Final = Rule(accept=UNSIGNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules by repository, and that for all others."""

    rules: tuple[tuple[ImageName, Rule], ...] = ()
    default: Rule = OPEN

    @property
    def open(self) -> bool:
        """Whether no signature is asked for anywhere."""
        return self.default.open and all(rule.open for _, rule in self.rules)

    def rule(self, repository: ImageName) -> Rule:
        fitting = [(name, rule) for name, rule in self.rules if _is_at_or_below(repository, name)]
        if not fitting:
            return self.default
        return max(fitting, key=lambda pair: len(pair[0].repository))[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The key to sign with, if any, and whose signatures count."""

    policy: Policy = Policy()
    sign_key: PrivateKey | None = None

    def verifies(self, repository: ImageName) -> bool:
        """Whether images of a repository must be signed."""
        return not self.policy.rule(repository).open

    def require_chance(self, name: ImageName) -> None:
        """Raise SignatureError where the policy accepts nothing from a repository, whatever it holds: before it is
        asked."""
        rule = self.policy.rule(ImageName(host=name.host, repository=name.repository))
        if not rule.open and not rule.keys:
            raise SignatureError(
                f"the policy accepts nothing from {name.host}/{name.repository}",
                hint="add a rule for the repository to the policy, with the keys that sign there",
            )

    def verify(
        self, name: ImageName, digest: str, *, annotations: Mapping[str, str] | None = None
    ) -> PublicKey | None:
        """The key that signed the image with `digest` to stand at `name`, with `annotations`; None where that need not
        be. Raises SignatureError, RegistryError, Unreachable."""
        repository = ImageName(host=name.host, repository=name.repository)
        self.require_chance(repository)
        rule = self.policy.rule(repository)
        if rule.open:
            return None
        signed = rule.signed_as or repository
        expected = _claims(signed, name.tag, digest, annotations or {})
        return attached.verify(repository, expected, rule.keys)

    def sign(self, name: ImageName, digest: str, *, annotations: Mapping[str, str] | None = None) -> None:
        """Sign the image with `digest` to stand at `name`, if there is a key. Raises RegistryError, Unreachable."""
        if self.sign_key is None:
            return
        repository = ImageName(host=name.host, repository=name.repository)
        attached.attach(repository, _claims(repository, name.tag, digest, annotations or {}), self.sign_key)

    def sign_manifest(self, name: ImageName, body: bytes) -> None:
        """Sign the manifest or index `body` to stand at `name`, if there is a key, and list the signature among its
        referrers. Raises RegistryError, Unreachable."""
        if self.sign_key is None:
            return
        repository = ImageName(host=name.host, repository=name.repository)
        claims = _claims(repository, name.tag, digest_of(body), {})
        attached.attach(repository, claims, self.sign_key, subject=subject_of(body))


def _claims(repository: ImageName, tag: str | None, digest: str, annotations: Mapping[str, str]) -> Claims:
    name = f"{repository.host}/{repository.repository}"
    return Claims(digest=digest, reference=f"{name}:{tag}" if tag else name, annotations=annotations)


def trust_of(settings: Settings) -> Trust:
    """From the files that were named. Keys to verify with count for every repository; a key to sign with, given alone,
    verifies what is read as well, or it would sign what stands on layers that anybody may have made. Raises
    UsageError."""
    private = None
    if settings.sign_key is not None:
        private = read_private_key(settings.sign_key, password=password_of(settings))
    if settings.policy is not None:
        return Trust(policy=read_policy(settings.policy), sign_key=private)
    keys = tuple(read_public_key(path) for path in settings.verify_keys)
    if private is not None and not keys:
        keys = (private.public(),)
    rule = Rule(keys=keys) if keys else OPEN
    return Trust(policy=Policy(default=rule), sign_key=private)


def password_of(settings: Settings) -> bytes | None:
    """The password of the key to sign with; None where none is given, which is not the empty one."""
    words = (settings.environment.get(name) for name in PASSWORD_VARIABLES)
    return next((word.encode() for word in words if word is not None), None)


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises UsageError, which names the value that is wrong."""
    try:
        document = strict_yaml.load(read_whole(path))
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"the policy {path} is not YAML: {error}") from error
    return _Parser(path).policy(document)


class _Parser:
    """Reads a policy. Errors name the file and the path of the value in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def policy(self, document: object) -> Policy:
        top = self._mapping(document, "the policy", ("repositories", "default"))
        if "repositories" not in top:
            self._fail("the policy", "the key repositories is missing")
        rules = []
        for text, value in self._mapping(top["repositories"], "repositories", None).items():
            place = f"repositories.{text}"
            rules.append((self._scope(str(text), place), self._rule(value, place)))
        default = self._rule(top["default"], "default") if "default" in top else Rule()
        return Policy(rules=tuple(rules), default=default)

    def _rule(self, value: object, place: str) -> Rule:
        rule = self._mapping(value, place, ("keys", "signed-as", "accept"))
        if ("keys" in rule) == ("accept" in rule):
            self._fail(place, "expected either keys or accept")
        if "accept" in rule:
            if rule["accept"] not in (UNSIGNED, NOTHING):
                self._fail(f"{place}.accept", f"expected {UNSIGNED} or {NOTHING}, got {rule['accept']!r}")
            if "signed-as" in rule:
                self._fail(f"{place}.signed-as", "it goes with keys, and this rule has none")
            return Rule(accept=str(rule["accept"]))
        names = rule["keys"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            self._fail(f"{place}.keys", "expected a list of files")
        signed_as = rule.get("signed-as")
        return Rule(
            keys=tuple(read_public_key(self._path.parent / name) for name in names),
            signed_as=self._repository(signed_as, f"{place}.signed-as") if signed_as is not None else None,
        )

    def _scope(self, text: str, place: str) -> ImageName:
        """A registry, a repository, or what repositories lie below: `docker.io/library`."""
        host, slash, path = text.partition("/")
        if not slash or (host, path) == (DOCKER_HUB, "library"):
            self._repository(f"{host}/x", place)
            return ImageName(host=host, repository=path)
        return self._repository(text, place)

    def _repository(self, text: object, place: str) -> ImageName:
        try:
            return parse_repository(str(text))
        except UsageError as error:
            raise UsageError(f"{self._path}: {place}: {error.message}", hint=error.hint) from error

    def _mapping(self, value: object, place: str, known: Collection[str] | None) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self._fail(place, f"expected a mapping, got {value!r}")
        for key in value:
            if known is not None and key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                self._fail(place, f"unknown key {key!r}", hint=hint)
        return value

    def _fail(
        self, place: str, message: str, *, hint: str = "`dibo schema policy` prints the schema"
    ) -> NoReturn:
        raise UsageError(f"{self._path}: {place}: {message}", hint=hint)


def _is_at_or_below(repository: ImageName, name: ImageName) -> bool:
    below = f"{name.repository}/" if name.repository else ""
    return repository.host == name.host and f"{repository.repository}/".startswith(below)
