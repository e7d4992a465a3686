"""bad input -> one clear error. Every failure names the argument, both values and the next step."""


class WarminitError(ValueError):
    """Raised for every input that warminit cannot use.

    The text names the argument, the value that was given, the value that is needed, and what to do
    next. Nothing has been written to the model when it is raised: the weights are bit-identical to
    before the call.
    """


class WarminitWarning(UserWarning):
    """Issued where the result stands but rests on a doubtful assumption."""
