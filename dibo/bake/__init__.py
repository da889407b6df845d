"""Many images as one graph of layers and artefacts, and the order in which it is worked off; pure.

`graph` merges the plans of images: a layer that several need is in it once. `schedule` says what may start next, to
what runs the tasks: processes on this machine, a cluster, a simulation. `report` and `junit` say how it ended.
"""
