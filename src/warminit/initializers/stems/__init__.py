"""Patches become filters, and filters become the first layers of a model.

`conditioning` is the one way of all methods that write filters; the others are bases for it.
"""
