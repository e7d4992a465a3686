"""Read the caller's images, from a tensor, batches or a loader, once and checked.

The room's result are patches, from which all data-dependent methods make filters.
"""
