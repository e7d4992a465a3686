"""Pre-Warm, the paper's method: k-means centroids of patches as filters.

Listing 1 bit for bit, the method with derived numbers, its ablations and its controls.
"""
