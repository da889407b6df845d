"""Fetches an image of a disk and writes it to the machine's disk, as a stream: `deploy_method=pull`.

    cmdline, reference     what is asked for
    web, registry          who has it; answers are streams that go on after a cut
    images                 what it is: raw, compressed, qcow2; where the first bytes of the disk are in it
    compressed, zstd, qcow2    bytes as stored ──► bytes of the disk
    gpt, disk, target      the disk: what is kept, what is held back until the digest held
    server                 who is told
    main                   the order of all that

It runs in the ramdisk, on the standard library of whatever Python the root has (3.10 or newer), with no package beside
it; install.d copies exactly the modules that it imports (bundle.py). Partition tables, headers of qcow2 and first bytes
are read by dibo's own modules, which ../lib leads to: those import nothing but the standard library and each other.
"""
