"""The functions behind the commands: values in, values or an error of `dibo.errors` out.

One module for each command, and `session`, which opens what most of them work with: the engine, the run, the caches.
`dibo.cli` calls them, and so can other programs and tests, without a command line. The environment is a
parameter.
"""
