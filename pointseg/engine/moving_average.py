"""An exponential moving average of a model: what is evaluated and exported where one is kept."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def new_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """The average of parameters and buffers with this decay a step; None where it is 0."""
    if decay == 0.0:
        return None
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.eval()
    return average
