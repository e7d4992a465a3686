"""Read what the caller gives: a tensor, batches or a loader, once and checked.

The room ends in patches: what every method that looks at data is made from.
"""
