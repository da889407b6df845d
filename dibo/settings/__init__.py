"""The settings of a command: options over environment variables over a project file over defaults, checked once.

`settings.decide` makes a `Settings`, which is never replaced later; `variables` is the table of environment variables;
`values` checks what the user wrote; `secrets` parses which secrets a build has and where their values come from. The
environment is a parameter.
"""
