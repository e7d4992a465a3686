"""Find the layers of a model and write them, with everything else left as before.

All knowledge of torch modules, wrappers, sharding and ranks is here.
"""
