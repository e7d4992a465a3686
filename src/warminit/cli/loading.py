"""a name -> its data set, with a progress bar for the first decoding."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.data.load import ImageDataset


def loaded(
    name: str, data_root: str | None, resize: int | None, console: "Console", *, quiet: bool
) -> "ImageDataset":
    """Load a data set; show nothing if `quiet`, or if the console is not a terminal."""
    from warminit.lab.data.load import load_dataset
    from warminit.lab.terminal.progress import loading_progress

    with loading_progress(console, quiet=quiet) as progress:
        return load_dataset(name, data_root=data_root, resize=resize, progress=progress(name))
