"""Profiles of commands: where their time goes, as a trace that Perfetto and chrome://tracing open.

`trace` keeps one trace for the process and its workers; what is off costs a comparison.
"""
