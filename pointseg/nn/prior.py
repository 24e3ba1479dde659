"""The geometry prior: entries whose region is well filled around a voxel are preferred.

``m[n, d]`` is the occupied share of region d around voxel n. Raw shares always favour the region
with the smallest reach, so each is standardised by the region's own mean and deviation, and
``prior[n] = softmax over d of (m[n, d] - mean[d]) / std[d] / tau``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointseg.distributed import exchange, num_ranks
from pointseg.recompute import once

KINDS = ("none", "product", "learned")
MOMENTUM = 0.1
EPS = 1e-4


@dataclass(frozen=True)
class PriorConfig:
    """Which prior.

    Raises ValueError that names the field.
    """

    name: str = "none"
    """none; product: choice proportional to softmax(logits) * prior; learned: a weight per head on
    the logarithm of the prior, added to the logits.
    """
    temperature: float = 1.0
    """Divides the standardised shares."""
    mean: tuple[float, ...] | None = None
    """Mean occupied share of each region over the dataset; null: running statistics."""
    std: tuple[float, ...] | None = None
    """Its standard deviation."""

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"name: expected one of {', '.join(KINDS)}, got {self.name!r}")
        if not self.temperature > 0:
            raise ValueError(f"temperature: must be positive, got {self.temperature}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean, std: give both or neither")
        if self.std is not None and not all(std > 0 for std in self.std):
            raise ValueError(f"std: must be positive, got {self.std}")


class GeometryPrior(nn.Module):
    """``log prior`` [N, H, D] of occupied shares [N, D].

    Mean and deviation of each region are constants of the dataset where the configuration gives
    them; otherwise running statistics of the training batches, kept as batch norm keeps its own.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, config: PriorConfig, entries: int, heads: int) -> None:
        super().__init__()
        for name in ("mean", "std"):
            given = getattr(config, name)
            if given is not None and len(given) != entries:
                raise ValueError(f"{name}: expected {entries} values, one a region, got {given}")
        self.temperature = config.temperature
        self.is_running = config.mean is None
        mean = torch.zeros(entries) if config.mean is None else torch.tensor(config.mean)
        var = torch.ones(entries) if config.std is None else torch.tensor(config.std).square()
        self.register_buffer("mean", mean)
        self.register_buffer("var", var)
        self.weight = nn.Parameter(torch.ones(heads)) if config.name == "learned" else None

    def forward(self, shares: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training and self.is_running:
            mean, var = once(lambda: self._update(shares))
        standard = (shares - mean) / (var.sqrt() + EPS)
        log_prior = (standard / self.temperature).log_softmax(dim=1)[:, None]
        return log_prior if self.weight is None else self.weight[:, None] * log_prior

    @torch.no_grad()
    def _update(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Move the running statistics towards those of the batch, over the voxels of all ranks;
        copies of mean and variance then.
        """
        shares = shares.double()
        ones = shares.new_ones(shares.shape[0], 1)
        sums = torch.cat([shares, shares.square(), ones], dim=1).sum(dim=0)
        if num_ranks() > 1:
            sums = exchange(sums).sum(dim=0)
        count = sums[-1]
        total, squares = sums[:-1].chunk(2)
        mean = total / count.clamp(min=1.0)
        var = (squares - total * mean).clamp(min=0.0) / (count - 1.0).clamp(min=1.0)
        momentum = MOMENTUM * (count > 1).to(self.mean)
        self.mean.lerp_(mean.to(self.mean), momentum)
        self.var.lerp_(var.to(self.var), momentum)
        return self.mean.clone(), self.var.clone()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, learned={self.weight is not None}"
