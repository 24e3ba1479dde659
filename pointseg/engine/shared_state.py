"""State that must be the same on all ranks."""

from __future__ import annotations

import torch
from torch import nn

from pointseg.distributed import average, gather_objects, num_ranks
from pointseg.engine.weights import hash_weights


def check_same_weights(model: nn.Module) -> None:
    """Raise ValueError, on every rank, unless all have the same parameters and buffers."""
    if num_ranks() == 1:
        return
    found = gather_objects(hash_weights(model.state_dict()))
    other = [str(rank) for rank, digest in enumerate(found) if digest != found[0]]
    if other:
        raise ValueError(
            f"ranks {', '.join(other)} begin with other weights than rank 0: they must run the "
            "same version of pointseg and torch, on the same configuration and checkpoint"
        )


@torch.no_grad()
def average_norms(model: nn.Module) -> None:
    """Give the batch norms of all ranks the means of their running statistics, except those in
    evaluation mode, which have not moved.
    """
    modules = [module for module in model.modules() if module.training]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm1d)]
    statistics = [(norm.running_mean, norm.running_var) for norm in norms]
    average([tensor for pair in statistics for tensor in pair if tensor is not None])
