"""A weight that cannot be packed. Kernels know its number; its file and tensor, their callers."""


class BadWeightError(ValueError):
    """NaN, infinite, or beyond F16 where the recipe goes through F16.

    Attributes:
        index: its place among the weights that were to be packed.
        what: what it is, to be read after "holds".
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"weight {index} is {what}")
        self.index = index
        self.what = what


class TooLargeError(BadWeightError, OverflowError):
    """So large that the F16 of its block would be infinite."""
