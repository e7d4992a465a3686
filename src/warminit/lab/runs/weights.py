"""a trained model -> the digest of its weights, or one safetensors file of them."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state to a safetensors file, whole or not at all.

    Args:
        model: Its parameters and buffers are written, each by its name in `state_dict`. What
            several names share is written for each.
        path: The file; its folder is made. The same state gives the same bytes.
    """
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(save(state))
    scratch.replace(path)


def weights_digest(model: nn.Module) -> str:
    """Return SHA-256 (hexadecimal) over the names, types, shapes and bytes of the model's state.

    Parameters and buffers count, in the order of their names; the memory format and the device do
    not.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
