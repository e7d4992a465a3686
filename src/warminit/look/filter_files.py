"""filters <-> one safetensors file with their report, which can be published."""

import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError, WarminitWarning
from warminit.images.check import is_dense
from warminit.initializers.stems.conditioning import trained_note
from warminit.models.find import first_layer
from warminit.models.layer import FoundLayer
from warminit.models.restore import errors_explained, restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.models.write import WRITABLE, write_rows_
from warminit.paths import expanded
from warminit.renamed import takes_old_names
from warminit.report import InitReport

TENSOR = "filters"
"""Name of the only tensor in a file."""

_OWN = ("format", "report", "warminit")
"""Metadata keys of this module."""


@dataclass(frozen=True, slots=True)
class _Bank:
    """Hold the content of a file."""

    filters: Tensor
    report: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def save_filters(
    filters: Tensor,
    path: str | os.PathLike[str],
    report: InitReport | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write filters to a safetensors file, with their report as metadata.

    The same filters, report and metadata give the same bytes; the report's run time is left out.

    Args:
        filters: Filters (n, C, *K), floating point and finite, 1 to 3 spatial dimensions.
        path: File to write; it is replaced as a whole.
        report: Report of the initialization that made them, as every method returns it.
        metadata: Further texts by name, for example the data set; `load_filters_` reports them.

    Returns:
        The path. The file holds one tensor, `filters`, in its dtype.

    Raises:
        WarminitError: If safetensors is not installed, if the filters or the metadata are invalid,
            or if the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_filters(torch.rand(4, 1, 3, 3), f"{folder}/bank.safetensors")
        ...     load_filters_(model, path).filters_set
        4
    """
    safetensors = _safetensors()
    usable = isinstance(filters, Tensor) and 3 <= filters.ndim <= 5 and filters.numel()
    if not usable or not is_dense(filters) or filters.dtype not in WRITABLE:
        got = f"{tuple(filters.shape)} {filters.dtype}" if isinstance(filters, Tensor) else filters
        raise WarminitError(
            f"filters={got!s:.60}: expected a dense floating point tensor (n, C, *K) of 1 to 3 "
            "spatial dimensions. Pass what `prewarm_filters` returns, or rows of a convolution's "
            "weight."
        )
    if not bool(torch.isfinite(filters).all()):
        raise WarminitError(
            "filters has values that are not finite: expected finite values. Make the filters "
            "again."
        )
    given = dict(metadata or {})
    for name, value in given.items():
        if name in _OWN or not isinstance(name, str) or not isinstance(value, str):
            raise WarminitError(
                f"metadata: {name!r}={value!r}: expected texts under names other than "
                f"{', '.join(_OWN)}. Rename it, or write str(value)."
            )
    from warminit import __version__

    texts = {**given, "format": "pt", "warminit": __version__}
    if report is not None:
        told = {name: value for name, value in asdict(report).items() if name != "seconds"}
        texts["report"] = json.dumps(told, default=str, sort_keys=True)
    content = _in_order(safetensors.save({TENSOR: filters.detach().cpu().contiguous()}, texts))
    target = expanded(path)
    scratch = target.with_name(f".{target.name}.part")
    try:
        scratch.write_bytes(content)
        scratch.replace(target)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise WarminitError(
            f"path={str(path)!r} cannot be written: {error}. Pass a file in an existing folder."
        ) from error
    return target


@takes_old_names("layer")
def load_filters_(
    model: nn.Module,
    path: str | os.PathLike[str],
    layers: str | nn.Module | None = None,
    images: Tensor | None = None,
) -> InitReport:
    """Write the filters of a file into the first filters of a model's convolution, in place.

    As in `prewarm_`, all checks precede the write, and the written values are read back. The other
    filters, the Parameter object, its dtype, device and `requires_grad` stay.

    Args:
        model: Any module with a convolution; call before or after the optimizer is made.
        path: File of `save_filters` or `warminit filters`.
        layers: Dotted name of the layer, or the module; the model's first convolution by default.
        images: Images (N, C, *size), scaled as the model is fed. Required for a linear layer over
            flattened patches, since only images show the order of a patch's values.

    Returns:
        The report of the method that made the filters, for this layer. Its parameters include the
        file's metadata.

    Raises:
        WarminitError: If safetensors is not installed, if the file holds no filters, or if they do
            not fit the layer. The model is then bit-identical to before.
    """
    started = time.perf_counter()
    bank = _read(expanded(path))
    with own_arithmetic(), errors_explained(model):
        target = first_layer(model, layers, images)
        conv = target.module
        _check_fit(bank.filters, target, str(path))
        filters = bank.filters[: target.out_channels].float()
        if (trained := trained_note(target, model)) is not None:
            warnings.warn(trained, WarminitWarning, stacklevel=2)
        with restored_on_error([conv]):
            notes = write_rows_(
                target.name, conv, torch.arange(len(filters)), target.as_weight(filters)
            )
            if len(bank.filters) > len(filters):
                cut = f"the first {len(filters)} of {len(bank.filters)} filters fit into the layer"
                notes = (*notes, cut)
            told = bank.report
            return InitReport(
                method=told.get("method", told.get("arm", "filters of a file")),
                layer=target.name,
                found=target.found,
                filters_set=len(filters),
                out_channels=target.out_channels,
                parameters={**told["parameters"], "file": Path(path).name, **bank.metadata},
                provenance=told.get("provenance", {}),
                seed=told.get("seed", 0),
                seconds=time.perf_counter() - started,
                notes=(*told.get("notes", ()), *([trained] if trained else []), *notes),
            )


def _in_order(content: bytes) -> bytes:
    """Sort the header of a safetensors file, since its texts have a random order.

    The format is: 8 bytes with the length of the header, JSON padded with blanks, the values.
    """
    start, length = 8, int.from_bytes(content[:8], "little")
    header = json.loads(content[start : start + length])
    ordered = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    padded = ordered.ljust(-(-len(ordered) // 8) * 8)
    return len(padded).to_bytes(8, "little") + padded + content[start + length :]


def _read(path: Path) -> _Bank:
    """Read a file without executing code: safetensors holds only numbers and texts."""
    _safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names, texts = list(file.keys()), file.metadata() or {}
            filters = file.get_tensor(TENSOR) if TENSOR in names else None
    except (OSError, SafetensorError) as error:
        raise WarminitError(
            f"path={str(path)!r} cannot be read as safetensors: {error}. Give a file that "
            "`save_filters` or `warminit filters` wrote."
        ) from error
    if filters is None or filters.ndim < 3 or not filters.numel():
        held = ", ".join(names[:5]) or "nothing"
        raise WarminitError(
            f"path={str(path)!r} holds {held}, and no tensor {TENSOR!r} of (n, C, *K) values. Give "
            "a file that `save_filters` or `warminit filters` wrote."
        )
    metadata = {name: text for name, text in texts.items() if name not in _OWN}
    try:
        report = json.loads(texts.get("report", "{}"))
        parameters = {name: _value(each) for name, each in report.get("parameters", {}).items()}
        _check_report(report)
    except (ValueError, AttributeError) as error:
        raise WarminitError(
            f"path={str(path)!r} has a damaged report ({error}). Write the file again."
        ) from error
    return _Bank(filters, {**report, "parameters": parameters}, metadata)


def _check_report(report: dict[str, Any]) -> None:
    """Raise ValueError unless a file's report has the types of `InitReport`."""
    kinds = {"arm": str, "method": str, "provenance": dict, "seed": int, "notes": list}
    for name, kind in kinds.items():
        if name in report and type(report[name]) is not kind:
            raise ValueError(f"{name} is a {type(report[name]).__name__}, not a {kind.__name__}")
    for each in (*report.get("notes", ()), *report.get("provenance", {}).values()):
        if type(each) is not str:
            raise ValueError(f"{each!r:.40} is a {type(each).__name__}, not a text")


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples


def _check_fit(filters: Tensor, target: FoundLayer, path: str) -> None:
    channels, groups = filters.shape[1], target.groups
    wanted = target.in_channels // groups
    if channels != wanted:
        per = " per group" if groups > 1 else ""
        raise WarminitError(
            f"path={path!r} holds filters of {channels} channels, and {target.name} takes "
            f"{wanted}{per}. Make them from images of {wanted} channels, or name another layer "
            "with layers=."
        )
    kernel = tuple(filters.shape[2:])
    if kernel != target.kernel_size:
        raise WarminitError(
            f"path={path!r} holds filters of kernel size {kernel}, and {target.name} has "
            f"{target.kernel_size}. Make them with the kernel size of the layer, or name "
            "another with layers=."
        )
    if groups > 1 and len(filters) != target.out_channels:
        raise WarminitError(
            f"path={path!r} holds {len(filters)} filters, and {target.name} has "
            f"{target.out_channels} in {groups} groups: which group a filter is for is known "
            "of the whole weight only. Save the whole weight."
        )


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise WarminitError(
            "files of filters need safetensors, which is not installed. Install it with "
            '`pip install "warminit[filters]"`.'
        ) from error
    return safetensors.torch
