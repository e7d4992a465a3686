"""`warminit filters`: a data set, an arm -> a file of filters, without any model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warminit.cli import options
from warminit.cli.loading import loaded
from warminit.cli.looking import drawn_images, statistics_for
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json

if TYPE_CHECKING:
    from torch import Tensor

    from warminit.lab.data.load import ImageDataset
    from warminit.report import InitReport


def filters(
    *,
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Name, hub id, folder or file of a data set.")
    ],
    arm: Annotated[
        str, typer.Option(metavar="NAME", help="Arm that makes the filters; see `arms`.")
    ] = "prewarm",
    out_channels: options.OutChannels = 32,
    kernel_size: options.KernelSize = 3,
    n_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of training images for the arm, or all.")
    ] = 256,
    seed: options.Seed = 0,
    out: Annotated[Path | None, options.out_file("DATASET-ARM.safetensors")] = None,
    data_root: options.DataRoot = None,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the filters of an arm for a data set to a file, without a model.

    The file is safetensors, with the arm's report, the data set and its fingerprint as metadata;
    `warminit.load_filters_(model, file)` writes them into a model. The same command gives the same
    bytes.
    """
    from warminit.look.filter_files import save_filters

    console = new_console(as_json=as_json)
    data = loaded(dataset, data_root, resize, console, quiet=quiet)
    n_images = min(n_images, len(data.train_images))
    made, report = _made(data, arm, out_channels, kernel_size, n_images, seed)
    about = _about(data, n_images)
    readable = data.name.strip("/").replace("/", "-")
    path = save_filters(
        made, out or Path(f"{readable}-{arm.replace(':', '-')}.safetensors"), report, metadata=about
    )
    if as_json:
        shown = {
            name: getattr(report, name) for name in ("method", "parameters", "provenance", "seed")
        }
        notes = {"notes": report.notes}
        print_json({"file": str(path), "shape": list(made.shape), **about, **shown, **notes})
        return
    if not quiet:
        _print(report, about, console)
    shape = " x ".join(str(size) for size in made.shape)
    console.print(f"{path}: {shape}", highlight=False, markup=False, soft_wrap=True)


def _made(
    data: "ImageDataset", arm: str, out_channels: int, kernel_size: int, n_images: int, seed: int
) -> "tuple[Tensor, InitReport]":
    """Apply the arm to a temporary convolution, and return the set filters."""
    import torch

    from warminit.initializers import init_

    images = drawn_images(data, n_images, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Conv2d(data.in_channels, out_channels, kernel_size)
    report = init_(layer, images, arm, seed=seed, **statistics_for(arm, data))
    return layer.weight.detach()[: report.filters_set], report


def _about(data: "ImageDataset", n_images: int) -> dict[str, str]:
    about = {
        "dataset": data.name,
        "fingerprint": data.fingerprint,
        "images": str(n_images),
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
    }
    return about | (
        {"partial": "its counts differ from the published ones"} if data.partial else {}
    )


def _print(report: "InitReport", about: dict[str, str], console: Any) -> None:
    from warminit.lab.terminal.display import new_table, say

    partial = " (partial)" if "partial" in about else ""
    table = new_table(
        f"{report.method}: {report.filters_set} of {report.out_channels} filters from "
        f"{about['images']} images of {about['dataset']}{partial}",
        ("quantity", False),
        ("value", True),
        ("source", False),
    )
    for name, value in report.parameters.items():
        parts = value if isinstance(value, tuple) else (value,)
        shown = " x ".join(
            f"{part:.4g}" if isinstance(part, float) else str(part) for part in parts
        )
        table.add_row(name, shown, report.provenance.get(name, ""))
    table.add_row("seed", str(report.seed), "")
    console.print(table)
    say(console, *(f"note: {note}" for note in report.notes))
