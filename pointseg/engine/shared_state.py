"""State that must be the same on all ranks."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from pointseg.distributed import average, gather_objects, num_ranks


def check_same_weights(model: nn.Module) -> None:
    """Raise ValueError, on every rank, unless all have the same parameters and buffers."""
    if num_ranks() == 1:
        return
    found = gather_objects(_digest(model))
    other = [str(rank) for rank, digest in enumerate(found) if digest != found[0]]
    if other:
        raise ValueError(
            f"ranks {', '.join(other)} begin with other weights than rank 0: they must run the "
            "same version of pointseg and torch, on the same configuration and checkpoint"
        )


@torch.no_grad()
def average_norms(model: nn.Module) -> None:
    """Give the batch norms of all ranks the means of their running statistics."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    statistics = [(norm.running_mean, norm.running_var) for norm in norms]
    average([tensor for pair in statistics for tensor in pair if tensor is not None])


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
