"""Turn patches into filters, and filters into the first layers of a model.

All methods that write filters use `conditioning`; the other modules compute the filters.
"""
