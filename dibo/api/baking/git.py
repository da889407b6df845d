"""A git repository, read by git: what differs from a commit, and how files were there. Nothing in it is changed.

A submodule is a repository of its own, of which the one around it has a commit: what is below it is asked of it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dibo.errors import CommandFailed, UsageError
from dibo.system import process
from dibo.system.process import Process, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A working tree."""

    top: Path

    @classmethod
    def around(cls, directory: Path) -> Self:
        """That which `directory` is in. Raises UsageError, ToolMissing."""
        try:
            done = process.run(["git", "-C", str(directory), "rev-parse", "--show-toplevel"], capture=True)
        except CommandFailed as error:
            raise UsageError(
                f"{directory} is not in a git repository: {error.tail[-1] if error.tail else error.message}",
                hint="--changed-since compares with a revision of the repository that the project file is in",
            ) from error
        return cls(top=Path(done.stdout.rstrip("\n")))

    def commit(self, revision: str) -> str:
        """The commit that a revision means (gitrevisions(7)). Raises UsageError."""
        name = f"{revision}^{{commit}}"
        done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", name, check=False)
        if done.returncode != 0 or not done.stdout.strip():
            raise UsageError(
                f"--changed-since: {revision!r} is no revision of {self.top}",
                hint="in a shallow clone, fetch it first: git fetch origin REV, or a clone with all history",
            )
        return done.stdout.strip()

    def changed(self, commit: str) -> tuple[Path, ...]:
        """Files that differ from those of a commit: changed, new, removed, and those that git does not know and does
        not ignore. Relative to the top. A repository in this one is named itself where git cannot compare it: one that
        is new, or that lacks the commit."""
        differing = self._git(
            "diff", "--name-only", "--no-renames", "--ignore-submodules=none", "-z", commit, "--"
        ).stdout
        unknown = self._git("ls-files", "-z", "--others", "--exclude-standard", "--full-name").stdout
        files: list[Path] = []
        submodules = self._submodules(commit)
        for path in (Path(name) for name in f"{differing}\0{unknown}".split("\0") if name):
            inner = submodules.get(path)
            files += [path] if inner is None else self._changed_within(path, inner)
        return tuple(files)

    def _changed_within(self, path: Path, commit: str) -> list[Path]:
        """Files of a submodule that differ from those of its commit; relative to the top."""
        nested = Repository(top=self.top / path)
        if not (nested.top / ".git").exists() or not nested.has(commit):
            return [path]
        return [path / file for file in nested.changed(commit)]

    def has(self, commit: str) -> bool:
        return self._git("cat-file", "-e", f"{commit}^{{commit}}", check=False).returncode == 0

    def _submodules(self, commit: str) -> dict[Path, str]:
        """Where they are, from the top, and their commits; of git-ls-tree(1): `MODE TYPE OBJECT<TAB>PATH`."""
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit).stdout
        entries = (entry.partition("\t") for entry in listed.split("\0"))
        return {
            Path(name): about.split()[2] for about, _, name in entries if about.split()[1:2] == ["commit"]
        }

    def _holder(self, commit: str, path: Path) -> tuple[Repository, str, Path]:
        """The repository that had a path in it, this one or a submodule; its commit; and the path from its top."""
        relative = self.relative(path)
        for place, inner in self._submodules(commit).items():
            nested = Repository(top=self.top / place)
            if relative.is_relative_to(place) and relative != place and (nested.top / ".git").exists():
                return nested._holder(inner, nested.top / relative.relative_to(place))
        return self, commit, relative

    def relative_or_none(self, path: Path) -> Path | None:
        """The path from the top; None where it is not below."""
        for candidate in (path, path.resolve()):
            for top in (self.top, self.top.resolve()):
                if candidate.is_relative_to(top):
                    return candidate.relative_to(top)
        return None

    def relative(self, path: Path) -> Path:
        """The same of a path that is below. Raises UsageError."""
        relative = self.relative_or_none(path)
        if relative is None:
            raise UsageError(f"{path} is not in the repository {self.top}")
        return relative

    def content(self, commit: str, path: Path) -> bytes | None:
        """A file as it was; None where it was not there."""
        holder, inner, relative = self._holder(commit, path)
        argv = ["git", "-C", str(holder.top), "cat-file", "blob", f"{inner}:{relative}"]
        with Process(argv, streams=Streams(stdout=process.PIPE)) as running:
            content = running.stdout.read()
            return content if running.wait() == 0 else None

    def extract_tree(self, commit: str, path: Path, target: Path) -> bool:
        """Write a directory as it was to `target`, which is empty; whether it was there."""
        holder, inner, relative = self._holder(commit, path)
        return holder._archive([f"{inner}:{relative}"], target)

    def extract(self, commit: str, patterns: Sequence[str], target: Path) -> bool:
        """Write the files that match pathspecs as they were below `target`; whether there were any."""
        listed = self._git("ls-tree", "-r", "--name-only", "-z", commit).stdout
        known = [
            pattern
            for pattern in patterns
            if any(name.endswith(pattern.rpartition("*")[2]) for name in listed.split("\0"))
        ]
        return bool(known) and self._archive([commit, "--", *known], target)

    def _archive(self, arguments: Sequence[str], target: Path) -> bool:
        argv = ["git", "-C", str(self.top), "archive", "--format=tar", *arguments]
        with Process(argv, streams=Streams(stdout=process.PIPE)) as running:
            try:
                with tarfile.open(fileobj=running.stdout, mode="r|") as archive:
                    for member in archive:
                        _write(archive, member, target)
            except tarfile.TarError:
                running.stdout.read()
                running.wait()
                return False
            return running.wait() == 0

    def _git(self, *arguments: str, check: bool = True) -> process.Completed:
        return process.run(["git", "-C", str(self.top), *arguments], capture=True, check=check)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """A file, a link or a directory of an archive, below `target`. Raises UsageError for a path that leads out of it:
    git has none, and a repository can be made by hand."""
    path = target / member.name
    if ".." in path.parts or not path.parent.resolve().is_relative_to(target.resolve()) or path.is_symlink():
        raise UsageError(f"the repository has a file that lies outside: {member.name!r}")
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member) if member.isreg() else None
    if content is not None:
        path.write_bytes(content.read())
        path.chmod(member.mode & 0o755)
    elif member.issym():
        path.symlink_to(member.linkname)
