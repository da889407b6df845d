"""Machines that run are those of runs whose lock is held."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import UsageError
from dibo.machines.running_table import (
    RunningEntry,
    find_machine,
    free_name,
    register,
    running_machines,
    unregister,
)
from dibo.system.workspace import Workspace


def entry(name: str) -> RunningEntry:
    return RunningEntry(
        name=name,
        image="web.qcow2",
        pid=1,
        port=2222,
        user="debian",
        key="/key",
        known_hosts="/known",
        ports=("127.0.0.1:2222 → 22/tcp",),
    )


def test_machines_come_and_go(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    with pytest.raises(UsageError, match="no machine runs"):
        find_machine(None, workspace.root)
    with workspace.run() as first:
        register(first, entry("web"))
        assert find_machine(None, workspace.root) == find_machine("web", workspace.root) == entry("web")
        assert free_name("web", workspace.root) == "web-2"
        unregister(first)
        assert running_machines(workspace.root) == ()
        register(first, entry("web"))
        with workspace.run() as second:
            register(second, entry("db"))
            assert [machine.name for machine in running_machines(workspace.root)] == ["db", "web"]
            with pytest.raises(UsageError, match="several machines run: db, web"):
                find_machine(None, workspace.root)
            with pytest.raises(UsageError, match="no machine 'mail' runs"):
                find_machine("mail", workspace.root)
    assert running_machines(workspace.root) == ()


def test_a_run_that_was_killed_has_no_machine(tmp_path: Path) -> None:
    """Nothing holds its lock."""
    run = tmp_path / "runs/1"
    run.mkdir(parents=True)
    (run / "lock").touch()
    (run / "machine.json").write_text("{}")
    assert running_machines(tmp_path) == ()
