"""Set the layers between the first layer and the head: convolutions, attention, residual branches.

Each method is `(model, images, *, seed, **options) -> InitReport`. Most accept content="random": a
control with random values of the same norms.
"""
