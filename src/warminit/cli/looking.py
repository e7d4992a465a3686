"""`warminit diagnose`: a data set, networks, arms -> figures on the input filters' responses."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from warminit.cli import options
from warminit.cli.loading import loaded
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json

if TYPE_CHECKING:
    from torch import Tensor

    from warminit.lab.data.load import ImageDataset
    from warminit.look.diagnosis import Diagnosis

_CONDITIONING_IMAGES = 256


def diagnose(
    *,
    datasets: options.Datasets = "fashion-mini",
    models: options.Models = "simplecnn",
    arms: Annotated[
        str, typer.Option(metavar="NAMES", help="Initializers to measure, separated by commas.")
    ] = "torch-default,prewarm,whitening",
    seed: options.Seed = 0,
    data_root: options.DataRoot = None,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure the input layer's filters before any training, one initializer beside the other.

    Each initializer sets a fresh model from 256 training images, drawn with the seed. Then the
    filters' rank, near-duplicates, dead filters and responses to these images are measured.
    """
    console = new_console(as_json=as_json)
    shown: list[dict[str, Any]] = []
    for dataset in options.names(datasets) or []:
        data = loaded(dataset, data_root, resize, console, quiet=quiet)
        for model in options.names(models) or []:
            found = {arm: _diagnosed(data, model, arm, seed) for arm in options.names(arms) or []}
            for arm, diagnosis in found.items():
                shown.append({"dataset": data.name, "model": model, "arm": arm})
                shown[-1] |= diagnosis.to_dict()
            if not as_json:
                _print(f"{data.name}, {model}, seed {seed}", found, console)
    if as_json:
        print_json(shown)


def _diagnosed(data: "ImageDataset", model_name: str, arm: str, seed: int) -> "Diagnosis":
    import torch

    from warminit.initializers import init_
    from warminit.lab.networks.build import build_model
    from warminit.look.diagnose import diagnose as measure

    images = drawn_images(data, _CONDITIONING_IMAGES, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(model_name, data.in_channels, data.image_size, data.n_classes)
    init_(model, images, arm, seed=seed, **statistics_for(arm, data))
    return measure(model, images, seed=seed)


def drawn_images(data: "ImageDataset", n: int, seed: int) -> "Tensor":
    """Return `n` training images, scaled as the model is fed, drawn without repetition."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data.train_images), generator=generator)[:n]
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (data.mean, data.std))
    return (data.train_images[chosen] / 255 - mean) / std


def statistics_for(arm: str, data: "ImageDataset") -> dict[str, Any]:
    """Return mean and std for an arm with rules on raw pixels, which undo the scaling."""
    from warminit.initializers import get_method
    from warminit.lab.runs.plan import takes

    if takes(get_method(arm), "mean") and takes(get_method(arm), "std"):
        return {"mean": data.mean, "std": data.std}
    return {}


def _print(title: str, found: dict[str, "Diagnosis"], console: Any) -> None:
    from warminit.lab.terminal.display import new_table

    columns = [(name, True) for name in found]
    table = new_table(title, ("quantity", False), *columns)
    rows = [each.rows() for each in found.values()]
    for together in zip(*rows, strict=True):
        table.add_row(together[0][0], *(value for _, value, _ in together))
    console.print(table)
    for name, each in found.items():
        for note in each.notes:
            console.print(f"note on {name}: {note}", highlight=False, markup=False)
