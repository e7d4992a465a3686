"""a name -> its data set, with a bar where it is decoded for the first time."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.data.load import ImageDataset


def loaded(
    name: str, data_root: str | None, resize: int | None, console: "Console", *, quiet: bool
) -> "ImageDataset":
    """Load a data set; with `quiet`, and where the console is no terminal, nothing is shown."""
    from warminit.lab.data.load import load_dataset
    from warminit.lab.terminal.progress import loading_progress

    with loading_progress(console, quiet=quiet) as progress:
        return load_dataset(name, data_root=data_root, resize=resize, progress=progress(name))
