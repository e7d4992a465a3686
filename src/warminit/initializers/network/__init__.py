"""Initialize every layer of a network: variance rules, and fits by one forward pass.

These are the rivals and baselines that look at more than the first layer.
"""
