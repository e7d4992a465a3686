"""Set what lies between the first layer and the head: convolutions, attention, residual branches.

Each method is `(model, images, *, seed, **options) -> InitReport`; one that claims content takes
content="random", its control with the same norms.
"""
