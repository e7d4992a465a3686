"""Inspect the weights of a model: a diagnosis, a picture, a file of filters.

Nothing here trains or initializes.
"""
