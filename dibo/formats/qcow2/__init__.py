"""qcow2, versions 2 and 3 (qemu/docs/interop/qcow2.txt).

`format` has header and entries for readers and writers, `reader.Qcow2Source` reads any without another file,
`writer.Qcow2` writes one in a stream, compressed by threads (`codec`, `allocation`). `format` needs the standard
library alone. Others use `reader`, `writer`, `codec.Compression` and `format`.
"""
