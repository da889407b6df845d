"""The boot server: which machines there are, what they report, and what is written to their disks.

`server` answers requests, `http_server` serves them, `machines` reads the file of the machines, `status` and
`state_file` keep what is known of each. `write_plan` decides which parts of a disk are written, and `iscsi` writes
them. `ipxe` makes boot scripts, `form` reads reports. Others use `server`, `machines` and `iscsi`.
"""
