"""Disks by the kernel: loop devices, mkfs, mount, and what only a machine's own tools can make. Root only.

Nothing here can outlive the process that made it. Loop devices are set up to detach themselves when no process holds
them open any more, and mounts live in a mount namespace of this process alone; so a SIGKILL takes both away. What a
hook stacked on a loop device (device mapper) stays until it is removed: that is what the run's journal is for.
"""
