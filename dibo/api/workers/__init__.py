"""Processes of dibo's own that carry out orders, one at a time each: a run owns the processes that it starts, so what
is done at the same time is done in several.

`process` is a worker as its command sees it, `serve` what its program does, `forward` brings a report from there.
"""
