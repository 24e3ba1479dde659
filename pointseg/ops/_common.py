"""What the operator modules share: registration with torch, checks, autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from pointseg import _native

if TYPE_CHECKING:
    from pointseg.ops.row_lists import RowLists

FEATURE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class PairMap(Protocol):
    """What an operator reads of a kernel map, see :class:`pointseg.sparse.KernelMap`."""

    @property
    def in_rows(self) -> Tensor: ...
    @property
    def out_rows(self) -> Tensor: ...
    @property
    def segments(self) -> Tensor: ...
    @property
    def num_in(self) -> int: ...
    @property
    def num_out(self) -> int: ...
    def transposed(self) -> PairMap: ...
    def tap_pairs(self) -> Tensor: ...
    def pairs(self, tap: int) -> tuple[Tensor, Tensor]: ...
    def row_lists(self) -> RowLists: ...
    def mask_order(self, num_splits: int) -> Tensor: ...


class CodebookLists(Protocol):
    """What the codebook operators read of a map, see :class:`pointseg.sparse.RegionMap`."""

    @property
    def row_starts(self) -> Tensor: ...
    @property
    def taps(self) -> Tensor: ...
    @property
    def neighbors(self) -> Tensor: ...
    @property
    def weight_rows(self) -> Tensor: ...
    @property
    def mirrored_weight_rows(self) -> Tensor: ...
    @property
    def entry_ends(self) -> Tensor: ...
    @property
    def num_voxels(self) -> int: ...
    @property
    def num_entries(self) -> int: ...
    @property
    def num_weight_rows(self) -> int: ...


def register(
    name: str,
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> None:
    """Give the compiled operator `name` its shape function and its gradient."""
    if not _native.is_loaded():
        return
    qualified = f"pointseg::{name}"
    torch.library.register_fake(qualified)(fake)
    if backward is not None:
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)


def native(name: str) -> Callable[..., Any]:
    """Return the compiled operator, or raise ImportError that says how to build it."""
    _native.require()
    operator: Callable[..., Any] = getattr(torch.ops.pointseg, name)
    return operator


def table(values: Iterable[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Constants on a device. From pinned memory, so that nobody waits for the copy."""
    host = torch.tensor(list(values), dtype=dtype)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def check_feats(
    name: str,
    feats: Tensor,
    rows: int | None = None,
    channels: int | None = None,
    device: torch.device | None = None,
) -> None:
    """Check a feature matrix [N, C]; `rows`, `channels` and `device` where they are given."""
    if not isinstance(feats, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(feats).__name__}")
    if feats.dim() != 2:
        raise ValueError(f"{name}: expected shape [N, C], got {list(feats.shape)}")
    if feats.dtype not in FEATURE_DTYPES:
        raise TypeError(f"{name}: expected a floating-point dtype, got {feats.dtype}")
    if rows is not None and feats.shape[0] != rows:
        raise ValueError(f"{name}: expected {rows} rows, one per voxel, got {feats.shape[0]}")
    if channels is not None and feats.shape[1] != channels:
        raise ValueError(f"{name}: expected {channels} channels, got {feats.shape[1]}")
    if device is not None:
        check_device(name, feats, device)


def check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    """Check that a tensor is where the map is: kernels take pointers as they come."""
    if tensor.device != device:
        raise ValueError(
            f"{name}: expected device {device} like the map's, got {tensor.device}; bring both to "
            "one device with .to()"
        )


def autocast(feats: Tensor) -> Tensor:
    """Cast features to the autocast dtype of their device where autocast is on; not float64."""
    device = feats.device.type
    if feats.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return feats
    return feats.to(torch.get_autocast_dtype(device))
