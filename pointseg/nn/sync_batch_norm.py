"""Batch norms that see the rows of all ranks."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from pointseg.ops.sync_batch_norm import sync_batch_norm
from pointseg.recompute import is_second_pass

Model = TypeVar("Model", bound=nn.Module)


class SyncBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` on ``[N, C]`` whose statistics are those of the rows of all ranks.

    Parameters, buffers and state dicts are those of `nn.BatchNorm1d`, and so is evaluation. In
    training all ranks must call it together, on the CPU or on GPUs.
    """

    def forward(self, input: Tensor) -> Tensor:
        return self.normalize(input) if self.training else super().forward(input)

    def normalize(
        self, feats: Tensor, residual: Tensor | None = None, relu: bool = False
    ) -> Tensor:
        """``relu(norm(feats) + residual)`` [N, C], of training."""
        assert self.momentum is not None
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        out = sync_batch_norm(
            feats,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            residual=residual,
            relu=relu,
            momentum=self.momentum,
            eps=self.eps,
        )
        if not is_second_pass():
            self.num_batches_tracked.add_(1)
        return out


def synchronized(model: Model) -> Model:
    """Put a `SyncBatchNorm1d` in the place of every `nn.BatchNorm1d`, with its own parameters.

    Changes `model` and returns it. An optimizer of its parameters stays one.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm1d:
                setattr(module, name, _of(child))
    return model


def _of(norm: nn.BatchNorm1d) -> SyncBatchNorm1d:
    twin = SyncBatchNorm1d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(twin, name, getattr(norm, name))
    return twin.train(norm.training)
