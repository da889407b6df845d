"""Bakes on many machines: Dask.distributed carries orders and outcomes, a registry carries everything else.

`cluster` finds workers, and what they have; `execute` gives them the tasks of a graph, one after the other; `on_worker`
is what Dask runs there: it starts `task_process`, which carries out one task. `bundle` has what a task is made of, and
`parcel` brings files from one machine to another through a registry.
"""
