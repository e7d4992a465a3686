"""`warminit arms`, `models`, `datasets` and `rules`: lists, and rules derived from data."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from warminit.cli import options
from warminit.cli.loading import loaded
from warminit.cli.output import console as new_console
from warminit.cli.output import print_json

if TYPE_CHECKING:
    from warminit.initializers.stems.design_rules import Hyperparameters


_WITHOUT_DOCSTRING = {
    "simplecnn-nobn": "simplecnn without batch normalization.",
    "simplecnn-k7": "simplecnn with 7x7 kernels in its first convolution.",
}


def arms(*, as_json: options.AsJson = False) -> None:
    """List the initializers with the parts that they set and their requirements."""
    from warminit.initializers import methods

    rows = [
        {
            "name": each.name,
            "sets": each.sets,
            "needs": list(each.needs),
            "description": each.summary,
        }
        for each in methods()
    ]
    _show(rows, ("name", "sets", "needs", "description"), as_json=as_json)
    if not as_json:
        new_console().print(
            "Combine methods for different parts by a plus: whitening+dirac. Your own: "
            "module:function "
            "(model, images, *, seed, **parameters)."
        )


def models(*, as_json: options.AsJson = False) -> None:
    """List the networks of the laboratory."""
    from warminit.lab.networks.build import MODELS, build_model

    rows = []
    for name in MODELS:
        model = build_model(name, 3, (32, 32), 10)
        rows.append(
            {
                "name": name,
                "parameters": sum(each.numel() for each in model.parameters()),
                "description": _WITHOUT_DOCSTRING.get(name) or _first_line(type(model)),
            }
        )
    _show(rows, ("name", "parameters", "description"), as_json=as_json)
    if not as_json:
        new_console().print(
            "Parameters: 3 x 32 x 32 images, 10 classes. Of timm: timm:resnet18, or with options, "
            "timm:vit_tiny_patch16_224:patch_size=4; img_size follows the images. Your own: "
            "module:function (in_channels, image_size, n_classes)."
        )


def datasets(*, data_root: options.DataRoot = None, as_json: options.AsJson = False) -> None:
    """List the data sets that have a name, and whether they are available."""
    from warminit.lab.data.availability import known_datasets

    rows = [each.to_dict() for each in known_datasets(data_root)]
    _show(rows, ("name", "hub_id", "train", "test", "at_hand"), as_json=as_json)
    if not as_json:
        new_console().print(
            "Besides these: any hub id (owner/name), a folder with train/ and test/, a .parquet or "
            ".npz file."
        )


def rules(
    *,
    datasets: options.Datasets = "fashion-mini",
    out_channels: options.OutChannels = 32,
    kernel_size: options.KernelSize = 3,
    data_root: options.DataRoot = None,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Derive Pre-Warm's hyperparameters from a data set's training split, as Table 1 does."""
    from warminit.initializers.stems.design_rules import derive_rules

    found = []
    console = new_console(as_json=as_json)
    for name in options.names(datasets) or []:
        data = loaded(name, data_root, resize, console, quiet=quiet)
        hyper = derive_rules(data.train_images, out_channels, kernel_size)
        found.append((data.name, data.partial, hyper))
    if as_json:
        rows = [
            {"dataset": name, "partial": partial, **_values(hyper), "provenance": hyper.provenance}
            for name, partial, hyper in found
        ]
        print_json(rows[0] if len(rows) == 1 else rows)
        return
    from warminit.lab.terminal.display import new_table

    for name, partial, hyper in found:
        table = new_table(
            f"{name}{' (partial)' if partial else ''}",
            ("quantity", False),
            ("value", True),
            ("source", False),
        )
        for quantity, value in _values(hyper).items():
            table.add_row(quantity, _text(value), hyper.provenance.get(quantity, ""))
        console.print(table)


def _values(hyper: "Hyperparameters") -> dict[str, Any]:
    return {
        "n_clusters": hyper.n_clusters,
        "n_patches": hyper.n_patches,
        "patch_size": list(hyper.patch_size),
        "scale": hyper.scale,
        "otsu_threshold": hyper.otsu_threshold,
        "foreground_density": hyper.foreground_density,
        "separability": hyper.separability,
        "patch_norm": hyper.patch_norm,
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return (", " if value and isinstance(value[0], str) else " x ").join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _first_line(described: Any) -> str:
    return (inspect.getdoc(described) or "").partition("\n")[0]


def _show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(list(rows))
        return
    from warminit.lab.terminal.display import new_table

    numeric = {name for name in columns if all(isinstance(row[name], int) for row in rows)}
    table = new_table("", *((name.replace("_", " "), name in numeric) for name in columns))
    for column in table.columns:
        column.no_wrap = column.header in {"name", "hub id"}
    for row in rows:
        table.add_row(*(_text(row[name]) for name in columns))
    new_console().print(table)
