"""Batch norm of the rows of all ranks.

Contract
--------
* As `batch_norm` in training, on the rows of all ranks joined: the same output, gradients of the
  own features and running statistics, up to rounding. Gradients of weight and bias are this rank's
  part: they are summed over ranks with all others.
* Each rank finds count, mean and sum of squared distances of its rows; these are joined in float64
  in the order of the ranks (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
  for computing sample variances", 1979): no cancellation, and the same bits on every rank. The
  backward pass exchanges two sums a channel.
* A rank may have any number of rows, none at all too; it takes part all the same. One row on all
  ranks together has the variance 0; it and no rows leave the running statistics alone.
* 16-bit gradients are rounded twice, each time to their own precision.
* Inside `pointseg.recompute.recomputed` ranks exchange moments in the first pass alone.
* Deterministic for a number of ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointseg.distributed import exchange
from pointseg.ops._common import check_feats, native
from pointseg.recompute import once


def sync_batch_norm(
    feats: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` in training over the rows of all ranks, which call it together.

    Arguments, result and errors are those of `batch_norm`; running statistics are moved in place.
    """
    check_feats("feats", feats)
    feats = feats.contiguous()
    moments = once(lambda: _joined_moments(feats))
    once(lambda: _move_running(running_mean, running_var, moments, momentum))
    if residual is not None:
        check_feats("residual", residual, rows=feats.shape[0], channels=feats.shape[1])
        residual = residual.contiguous()
    out: Tensor = _Normalize.apply(feats, weight, bias, residual, moments, eps, relu)
    return out


@torch.no_grad()
def _joined_moments(feats: Tensor) -> Tensor:
    """Count, mean and variance (divided by the count) of the rows of all ranks. float64 [3, C]."""
    mean, var = native("batch_norm_moments")(feats.detach())
    count = torch.full_like(mean, feats.shape[0])
    if feats.shape[0] == 0:
        mean, var = torch.zeros_like(mean), torch.zeros_like(var)
    counts, means, variances = exchange(torch.stack([count, mean, var])).unbind(1)
    total = counts.sum(dim=0)
    shares = counts / total.clamp(min=1)
    joined_mean = (means * shares).sum(dim=0)
    joined_var = ((variances + (means - joined_mean).square()) * shares).sum(dim=0)
    return torch.stack([total, joined_mean, joined_var])


@torch.no_grad()
def _move_running(
    running_mean: Tensor, running_var: Tensor, moments: Tensor, momentum: float
) -> None:
    """As `batch_norm` does; without asking the device how many rows there are."""
    total, mean, var = moments
    unbiased = var * total / (total - 1).clamp(min=1)
    weight = (total > 1).double() * momentum
    for running, value in ((running_mean, mean), (running_var, unbiased)):
        running.lerp_(value.to(running.dtype), weight.to(running.dtype))


class _Normalize(torch.autograd.Function):
    """The kernels of `batch_norm` with moments of more rows than they are given."""

    @staticmethod
    def forward(
        ctx: Any,
        feats: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        moments: Tensor,
        eps: float,
        relu: bool,
    ) -> Tensor:
        _, mean, var = moments
        out: Tensor = native("batch_norm")(
            feats, mean, var, weight, bias, residual, eps, relu, False
        )
        ctx.settings = (eps, relu)
        needs_out = relu and residual is not None
        ctx.save_for_backward(feats, out if needs_out else None, moments, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        feats, out, moments, weight, bias = ctx.saved_tensors
        eps, relu = ctx.settings
        total, mean, var = moments
        wants_residual = ctx.needs_input_grad[3]
        masked = wants_residual and relu
        grad_feats, grad_parameters, grad_residual = torch.ops.pointseg.batch_norm_grad(
            *(grad_out.contiguous(), feats, out, mean, var, weight, bias),
            *(eps, relu, False, masked),
        )
        if not masked:
            grad_residual = grad_out if wants_residual else None
        # What the kernel leaves out where moments are constants: their dependence on all rows.
        sum_grad, sum_grad_x = exchange(grad_parameters).sum(dim=0) / total.clamp(min=1)
        inverse_std = (var + eps).rsqrt()
        scale = weight.double() * inverse_std
        slope, shift = -scale * sum_grad_x * inverse_std, -scale * sum_grad
        grad_feats = _plus_line(grad_feats, feats, mean, slope, shift)
        grad_bias, grad_weight = grad_parameters.unbind()
        return (
            *(grad_feats, grad_weight.to(weight.dtype), grad_bias.to(bias.dtype), grad_residual),
            *(None, None, None),
        )


def _plus_line(grad: Tensor, feats: Tensor, mean: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """``grad + (feats - mean) * slope + shift`` [N, C], in float32 at least."""
    dtype = torch.promote_types(grad.dtype, torch.float32)
    rounded = mean.to(dtype)
    rest = (mean - rounded).to(dtype)  # far from zero it is more than what is left of feats - mean
    centred = feats.to(dtype).sub(rounded).sub_(rest)
    return torch.addcmul(shift.to(dtype), centred, slope.to(dtype)).add_(grad).to(grad.dtype)
