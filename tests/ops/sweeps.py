"""What the sweeps over all cases share: results with gradients, native calls, their check."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.ops import scenes
from tests.ops.cases import Case, Function

NativeCall = tuple[torch._ops.OpOverload, tuple, dict]


def run(function: Function, inputs: tuple[Tensor, ...], seed: int = 9) -> list[Tensor]:
    """The output and the gradient of every input, for a random gradient of the output."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*leaves)
    if not out.requires_grad:  # a reference that met nothing to compute
        return [out, *(torch.zeros_like(leaf) for leaf in leaves)]
    grad = scenes.randn(*out.shape, seed=seed, dtype=out.dtype).to(out.device)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad, materialize_grads=True)]


class _Recorder(TorchDispatchMode):
    """Keeps the arguments of every native call of the package, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[NativeCall] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "pointseg":
            self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def native_calls(case: Case, coords: Tensor) -> list[NativeCall]:
    """Every native call that a case makes on these voxels, forward and backward."""
    with _Recorder() as recorder:
        problem = case.on_device(coords, torch.float32)
        run(problem.function, problem.inputs)
    return recorder.calls


# The native ops that have a gradient; the others are geometry, or gradients themselves.
DIFFERENTIABLE = (
    *("sparse_conv", "depthwise_conv", "pool", "gather_neighbors", "scatter_reduce", "interpolate"),
    *("codebook_logits", "codebook_attention", "batch_norm"),
)


def _leaf(value: object, differentiable: bool) -> object:
    if isinstance(value, Tensor):
        value = value.detach().clone()
        return value.requires_grad_(differentiable and value.is_floating_point())
    return value


def opcheck(call: NativeCall) -> None:
    """Schema, fake kernel and autograd registration of one call."""
    func, args, kwargs = call
    # Without a swapped map near the end a call is itself part of a gradient.
    is_gradient = any(value is None or isinstance(value, list) and not value for value in args[-3:])
    differentiable = func.__name__.split(".")[0] in DIFFERENTIABLE and not is_gradient
    leaves = tuple(_leaf(value, differentiable) for value in args)
    torch.library.opcheck(func, leaves, kwargs)
