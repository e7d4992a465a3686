"""Initialize every layer of a network by variance rules or by one forward pass.

These baselines look at more than the first layer.
"""
