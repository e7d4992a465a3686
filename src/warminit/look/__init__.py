"""Show what the weights of a model do: a diagnosis, a picture, a file of filters.

Nothing here trains or initializes.
"""
