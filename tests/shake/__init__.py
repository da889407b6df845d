"""`make shake`: faults that a bad day brings, made at random, from a seed that is printed."""
