"""names of the paper's data sets -> the available data sets, and figures side by side."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from warminit.errors import DataNotAvailableError, unexpected
from warminit.lab.data.load import ImageDataset
from warminit.lab.data.sources import PUBLISHED
from warminit.lab.engines.job import DataSource
from warminit.lab.paper.published import Erratum
from warminit.lab.study.table1 import TABLE_1

TABLES = ("table1", "table2", "table3", "grid")
"""Names that `warminit reproduce` accepts."""

NOT_AVAILABLE = "data not available"

Standing = Literal["complete", "partial", "not available"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold one data set of the paper, and its availability here.

    Attributes:
        name: Name for `load_dataset`.
        title: Name in the paper.
        standing: Availability; `complete` only with the published counts, since only complete data
            are compared with the paper.
        dataset: Loaded data set; None if not available.
        reason: Reason that the data set is not complete; empty if it is.
    """

    name: str
    title: str
    standing: Standing
    dataset: ImageDataset | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """Hold one figure of the paper and the measured one.

    Attributes:
        dataset: Name of the data set.
        quantity: Name of the quantity.
        paper: Figure of the paper, as printed; None if the paper has none, and for partial data.
        here: Measured figure; None without data.
        form: Format specification of both.
        erratum: Known error in the paper's figure.
        note: Origin of the figure.
    """

    dataset: str
    quantity: str
    paper: float | None
    here: float | None
    form: str
    erratum: Erratum | None = None
    note: str = ""

    @property
    def differs(self) -> bool | None:
        """Whether both differ as printed; None where one is missing.

        Example:
            >>> Figure("cifar10", "mean patch norm", 0.522, 0.5246, ".3f").differs
            True
        """
        if self.paper is None or self.here is None:
            return None
        return format(self.paper, self.form) != format(self.here, self.form)


def paper_datasets(names: Iterable[str] | None) -> tuple[str, ...]:
    """Check names against the paper's data sets; None or an empty list takes all, in its order.

    Raises:
        WarminitError: For a data set that the paper does not use.
    """
    asked = tuple(names or ()) or tuple(TABLE_1)
    for name in asked:
        if name not in TABLE_1:
            raise unexpected(
                "datasets",
                name,
                f"a data set of the paper: {', '.join(TABLE_1)}",
                "For other data use `warminit rules`, `warminit run` or `warminit compare`.",
            )
    return tuple(dict.fromkeys(asked))


def find_candidates(
    names: Iterable[str],
    source: DataSource,
    *,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Mapping[str, Candidate]:
    """Load the available data sets of the paper.

    Args:
        names: Names from `paper_datasets`.
        source: Source of the data.
        progress: Function from a data set's name to the `progress` of `load_dataset`.

    Returns:
        A candidate for each name; `not available` only if its data are absent.

    Raises:
        WarminitError: If data are present but cannot be read.
    """
    return {name: _candidate(name, source, progress) for name in names}


def _candidate(
    name: str,
    source: DataSource,
    progress: Callable[[str], Callable[[int, int], None]] | None,
) -> Candidate:
    title = TABLE_1[name].title
    try:
        dataset = source.load(name, progress=None if progress is None else progress(name))
    except DataNotAvailableError as error:
        return Candidate(name, title, "not available", reason=str(error))
    if not dataset.partial:
        return Candidate(name, title, "complete", dataset)
    here = (len(dataset.train_images), len(dataset.test_images))
    published = PUBLISHED[name].counts
    reason = (
        f"partial: {here[0]:,} training and {here[1]:,} test images, published are "
        f"{published[0]:,} and {published[1]:,}"
    )
    return Candidate(name, title, "partial", dataset, reason)
