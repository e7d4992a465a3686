"""Plan the runs of a study, and execute a run.

A run is a pure function of data, model, arm, seed, protocol and precision.
"""
