"""Batch norm of rows, with a residual sum and a ReLU behind it in one pass.

Contract
--------
* ``out = relu((feats - mean) / sqrt(var + eps) * weight + bias + residual)``; residual and ReLU
  where they are asked for. In training mean and var (divided by N) are those of `feats`, otherwise
  the running ones.
* Training moves the running statistics in place by ``momentum`` towards the mean and the variance
  divided by N - 1, as `torch.nn.functional.batch_norm` does.
* Moments are sums of squared distances from the mean of a block of rows, joined in float64: no
  cancellation, however far the mean is from zero. float32 and float64 rows are normalised in their
  own precision; float16 and bfloat16 are storage, and arithmetic on them is float32.
* Differentiable once in feats, weight, bias and residual; in training also through the moments. The
  gradient of the ReLU at zero is zero.
* Deterministic, forward and backward: the same bits for any number of threads.
* Inside `pointseg.recompute.recomputed` the moments are found, and the running statistics moved, in
  the first pass; the second one takes the same moments.
* A NaN stays one. No rows give no rows, zero gradients, and leave the running statistics alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pointseg.ops._arguments import check_parameter
from pointseg.ops._common import check_feats, native, register
from pointseg.recompute import once


def batch_norm(
    feats: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise every channel over all rows, scale and shift it; add a residual; clip below at 0.

    Args:
        feats: [N, C].
        weight, bias: [C]; dtype of `feats`, or float32 beside 16-bit features.
        running_mean, running_var: [C], what evaluation normalises with and training moves; None in
            training: nothing is kept.
        residual: [N, C], dtype of `feats`.
        relu: whether negative results become 0.
        training: normalise with the moments of `feats`.
        momentum: share of the batch in the running statistics, 0..1.
        eps: added to the variance.

    Returns:
        [N, C], dtype of `feats`.

    Raises:
        ValueError, TypeError: shapes, dtypes or devices that do not fit; evaluation without running
            statistics; training with a single row, which has no variance.
    """
    check_feats("feats", feats)
    given = {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}
    for name, parameter in given.items():
        label = name if name in ("weight", "bias") else f"running_{name}"
        if parameter is None:
            if not training:
                raise ValueError(f"{label}: evaluation needs it; pass it, or training=True")
            continue
        if list(parameter.shape) != [feats.shape[1]]:
            raise ValueError(f"{label}: expected [{feats.shape[1]}], got {list(parameter.shape)}")
        check_parameter(label, parameter, feats)
    if residual is not None:
        check_feats("residual", residual, rows=feats.shape[0], channels=feats.shape[1])
        if residual.dtype != feats.dtype:
            raise TypeError(f"residual: expected {feats.dtype} like feats, got {residual.dtype}")
    feats = feats.contiguous()
    if training:
        mean, var = once(lambda: _batch_moments(feats, running_mean, running_var, momentum))
    else:
        assert running_mean is not None and running_var is not None
        mean, var = running_mean, running_var
    out: Tensor = native("batch_norm")(
        feats,
        mean,
        var,
        weight.contiguous(),
        bias.contiguous(),
        None if residual is None else residual.contiguous(),
        eps,
        relu,
        training,
    )
    return out


@torch.no_grad()
def _batch_moments(
    feats: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float
) -> tuple[Tensor, Tensor]:
    """Mean and variance of `feats`, float64 [C]; the running ones move towards them."""
    rows = feats.shape[0]
    if rows == 1:
        raise ValueError(
            "feats: expected more than 1 row in training, a single one has no variance; got "
            f"{list(feats.shape)}"
        )
    mean, var = native("batch_norm_moments")(feats.detach())
    if rows > 0:
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((var * (rows / (rows - 1))).to(running_var.dtype), momentum)
    return mean, var


def batch_norm_reference(
    feats: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same one after the other, with torch's batch norm."""
    out = F.batch_norm(feats, running_mean, running_var, weight, bias, training, momentum, eps)
    if residual is not None:
        out = out + residual
    return F.relu(out) if relu else out


def _moments_fake(feats: Tensor) -> tuple[Tensor, Tensor]:
    moment = feats.new_empty(feats.shape[1], dtype=torch.float64)
    return moment, torch.empty_like(moment)


def _forward_fake(
    feats: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    eps: float,
    relu: bool,
    batch_moments: bool,
) -> Tensor:
    return torch.empty_like(feats)


def _grad_fake(
    grad_out: Tensor,
    feats: Tensor,
    out: Tensor | None,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    relu: bool,
    batch_moments: bool,
    wants_residual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    channels = feats.shape[1]
    grad_parameters = feats.new_empty(2, channels, dtype=torch.float64)
    grad_residual = feats.new_empty(feats.shape[0] if wants_residual else 0, channels)
    return torch.empty_like(feats), grad_parameters, grad_residual


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feats, mean, var, weight, bias, residual, *settings = inputs
    ctx.settings = settings
    # Without a residual the backward pass finds out for itself where the ReLU was open.
    out = output if residual is not None and settings[1] else None
    ctx.save_for_backward(feats, out, mean, var, weight, bias)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    feats, out, mean, var, weight, bias = ctx.saved_tensors
    wants_residual = ctx.needs_input_grad[5]
    masked = wants_residual and out is not None  # without a ReLU it gets grad_out as it is
    grad_feats, grad_parameters, grad_residual = torch.ops.pointseg.batch_norm_grad(
        grad_out.contiguous(), feats, out, mean, var, weight, bias, *ctx.settings, masked
    )
    grad_bias, grad_weight = grad_parameters.unbind()
    if not masked:
        grad_residual = grad_out if wants_residual else None
    return (
        *(grad_feats, None, None, grad_weight.to(weight.dtype), grad_bias.to(bias.dtype)),
        *(grad_residual, None, None, None),
    )


register("batch_norm_moments", _moments_fake)
register("batch_norm", _forward_fake, _backward, _setup_context)
register("batch_norm_grad", _grad_fake)
