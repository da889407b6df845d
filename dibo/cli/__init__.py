"""The command line: one module for each command, which declares its options, calls a function of `dibo.api` and prints.

`commands` lists the modules, `parser` makes parsers and their help, `options` has the options that several commands
share, `run` calls a command and turns errors into messages and exit codes, `main` is where the programs start. No other
folder imports this one.
"""
