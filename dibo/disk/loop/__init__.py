"""Disks made by the kernel, on a loop device, for root file systems that dibo does not write itself. Root only.

`check` says whether this machine can do it, `make` is the way in: `mkfs` makes file systems, `fill` writes the files,
`grub` runs the root's own grub-install. The devices and mounts are those of `dibo.system.loop`.
"""
