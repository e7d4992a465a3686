"""Find the layers of a model and write them, and leave everything else unchanged.

Only this room knows torch modules, wrappers, sharding and ranks.
"""
