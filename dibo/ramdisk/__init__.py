"""A ramdisk: the part of a root that a machine needs to run from memory, as an initramfs, and the kernel beside it.

    settings   the options of a ramdisk, decided
    selection  the tree of the ramdisk, selected from the tree of the root
    elf        the libraries and the interpreter that an ELF file needs
    programs   programs by name, with everything they need
    depmod     the index files by which kmod finds modules
    modules    kernel modules by name, alias or directory, with dependencies and firmware
    init       /init, assembled from fragments; lint checks it
    cpio       the archive that the kernel unpacks; compress compresses it in parallel
    make       selects the whole ramdisk; write puts the files in place

Others use `settings.decide_ramdisk`, `make.RamdiskSpec` and `write.write_ramdisk`. No program of the root is executed
and nothing is unpacked, so a ramdisk can be made for every architecture on every machine.
"""
