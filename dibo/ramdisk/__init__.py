"""A ramdisk: the little of a root that a machine needs to run from memory, as an initramfs, and the kernel beside it.

    wishes     what the flavours of a stack name: programs, kernel modules, udev rules, fragments of /init
    harvest    the tree of the ramdisk, as it is picked from the tree of the root
    elf        what an ELF file says that it needs
    programs   programs by name, and all that they need
    depmod     the files by which kmod finds modules
    modules    kernel modules by name, alias or directory, what they need, and their firmware
    init       /init, put together of pieces and checked
    cpio       the archive that the kernel unpacks
    compress   and its compression, in parallel
    make       all of it

Nothing of the root is executed, and nothing is unpacked: trees are dibo.tree.node's, and bytes are read from where the
layers were spooled to. So it works for every architecture, on every machine.
"""
