"""Plan the runs of a study, and do one of them.

A run is a pure function of data, model, arm, seed, protocol and precision.
"""
