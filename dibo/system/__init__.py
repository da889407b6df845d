"""Access to this machine, one module for each way: processes, files, HTTP, docker, the terminal, signals.

`process` starts programs and ends them with all their children, `workspace` has the cache and the run with its journal,
`http` downloads, `docker_api` talks to the daemon, `loop/` sets up loop devices and mounts, `report` prints. `retry`
and `waits` say how long to wait for others. All modules are for all folders below this one.
"""
