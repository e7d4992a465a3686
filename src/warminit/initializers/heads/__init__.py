"""Find the last linear layer of a model and let its outputs start small.

Alone, or together with whitening filters in the first layer.
"""
