"""Pre-Warm, the paper's method: k-means centroids of patches as filters.

The room has Listing 1 bit for bit, the method with derived numbers, ablations and controls.
"""
