"""A trained first layer takes images of another number of channels and keeps what it has learned.

`stem` is the call, `rules` and `moments` make the new filters; `models.exchange` writes them.
"""
