"""Adapt a trained first layer to another number of channels, and keep what it has learned.

`stem` has the public function, `rules` and `moments` compute the filters, and `models.exchange`
writes them.
"""
