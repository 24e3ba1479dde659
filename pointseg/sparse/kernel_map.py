"""A kernel map as a value: pair lists grouped by output block and tap."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pointseg.ops import RowLists, mask_order, row_lists, swap_kernel_map
from pointseg.ops._common import table
from pointseg.sparse.spec import KernelSpec


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs (input row, output row) of every tap of a kernel.

    Attributes:
        spec: the kernel; the map may hold only some of its taps (:meth:`select`).
        num_in, num_out: rows of the input and of the output.
        in_rows, out_rows: int32, the pairs; of a map of some taps those of the whole kernel.
        segments: int64 [blocks, K, 2]; the pairs of (block, tap k) are rows ``begin:end`` of the
            lists. Block b has all pairs of output rows 2048 * b to 2048 * (b + 1), and in a
            segment no output row comes twice.
    """

    spec: KernelSpec
    num_in: int
    num_out: int
    in_rows: Tensor
    out_rows: Tensor
    segments: Tensor
    _swapped: list[KernelMap] = field(default_factory=list, repr=False)
    _row_lists: list[RowLists] = field(default_factory=list, repr=False)
    _tap_pairs: list[Tensor] = field(default_factory=list, repr=False)
    _num_pairs: int | None = field(default=None, repr=False)  # of some taps; None: all pairs
    _mask_orders: dict[int, Tensor] = field(default_factory=dict, repr=False)
    # The map this one was swapped from: held weakly, so that maps are freed with their grid.
    _origin: weakref.ref[KernelMap] | None = field(default=None, repr=False)

    @property
    def num_pairs(self) -> int:
        """E: of the taps that the map has."""
        return int(self.in_rows.shape[0]) if self._num_pairs is None else self._num_pairs

    @property
    def num_taps(self) -> int:
        """K."""
        return int(self.segments.shape[1])

    def tap_pairs(self) -> Tensor:
        """Pairs of every tap, int64 [K], in host memory. Found once, of both directions."""
        if not self._tap_pairs:
            sizes = self.segments[..., 1] - self.segments[..., 0]
            self._tap_pairs.append(sizes.sum(0).cpu())
        return self._tap_pairs[0]

    def pairs_of(self, taps: Sequence[int]) -> int:
        """How many pairs some taps have together."""
        if len(taps) == self.num_taps:
            return self.num_pairs
        return int(self.tap_pairs()[list(taps)].sum())

    def transposed(self) -> KernelMap:
        """The map with input and output swapped; tap k keeps its index. Built once.

        A symmetric kernel needs nothing built: the pairs of tap k turned around are those of its
        mirror.
        """
        origin = None if self._origin is None else self._origin()
        if origin is not None:
            return origin
        if not self._swapped:
            if self._is_mirrored():
                arrays = (self.in_rows, self.out_rows, self.groups(self.spec.mirror))
            else:
                arrays = swap_kernel_map(self.in_rows, self.out_rows, self.segments, self.num_in)
            self._keep_transposed(*arrays)
        return self._swapped[0]

    def _keep_transposed(self, in_rows: Tensor, out_rows: Tensor, segments: Tensor) -> None:
        swapped = KernelMap(
            self.spec,
            self.num_out,
            self.num_in,
            in_rows,
            out_rows,
            segments,
            # Turned around, a tap has as many pairs, and so has its mirror.
            _tap_pairs=self._tap_pairs,
            _num_pairs=self._num_pairs,
            _origin=weakref.ref(self),
        )
        self._swapped.append(swapped)

    def _is_mirrored(self) -> bool:
        whole = self.num_taps == self.spec.num_taps
        return whole and self.spec.is_symmetric and self.num_in == self.num_out

    def row_lists(self) -> RowLists:
        """The pairs by output row. Built once; of the two directions of a symmetric kernel for one,
        whose taps are those of the other, mirrored (then a run has them in descending order).
        """
        if not self._row_lists:
            origin = None if self._origin is None else self._origin()
            if origin is not None and self._is_mirrored():
                starts, taps, neighbors = origin.row_lists()
                mirror = table(self.spec.mirror, torch.int32, taps.device)
                lists = RowLists(starts, mirror[taps], neighbors)
            else:
                arrays = (self.in_rows, self.out_rows, self.segments)
                lists = row_lists(*arrays, self.num_in, self.num_out, self.num_pairs)
            self._row_lists.append(lists)
        return self._row_lists[0]

    def mask_order(self, num_splits: int) -> Tensor:
        """Output rows sorted by the taps they have, in each range of taps (CUDA alone): int32
        [num_splits, N_out]. Built once for each number of ranges.
        """
        if num_splits not in self._mask_orders:
            whole = self.num_taps == self.spec.num_taps
            taps = self.spec.nearest_first if whole else range(self.num_taps)
            self._mask_orders[num_splits] = mask_order(self.row_lists(), taps, num_splits)
        return self._mask_orders[num_splits]

    def select(self, taps: Sequence[int]) -> KernelMap:
        """The map of some of the taps, ascending, each once; it shares the pair lists."""
        if any(low >= high for low, high in zip(taps, taps[1:], strict=False)):
            raise ValueError(f"taps: expected ascending indices, each once, got {list(taps)}")
        mirrored = self.transposed()
        selected = KernelMap(
            self.spec,
            self.num_in,
            self.num_out,
            self.in_rows,
            self.out_rows,
            self.groups(taps),
            _tap_pairs=[self.tap_pairs()[list(taps)]],
            _num_pairs=self.pairs_of(taps),
        )
        selected._keep_transposed(mirrored.in_rows, mirrored.out_rows, mirrored.groups(taps))
        return selected

    def groups(self, taps: Sequence[int]) -> Tensor:
        """The segments of some taps, in any order: int64 [blocks, taps, 2]."""
        return self.segments.index_select(1, table(taps, torch.int64, self.segments.device))

    def pairs(self, tap: int) -> tuple[Tensor, Tensor]:
        """(in_rows, out_rows) of one tap, int64, in map order."""
        if not 0 <= tap < self.num_taps:
            raise IndexError(f"tap: expected 0..{self.num_taps - 1}, got {tap}")
        pieces = [slice(begin, end) for begin, end in self.segments[:, tap].tolist()]
        if not pieces:
            empty = self.in_rows.new_empty(0, dtype=torch.int64)
            return empty, empty
        in_rows = torch.cat([self.in_rows[piece] for piece in pieces])
        out_rows = torch.cat([self.out_rows[piece] for piece in pieces])
        return in_rows.long(), out_rows.long()

    def neighbors(self) -> Tensor:
        """Neighbour table int32 [num_out, K]: input row at each tap, -1 where there is none."""
        table = self.in_rows.new_full((self.num_out, self.num_taps), -1)
        for tap in range(self.num_taps):
            in_rows, out_rows = self.pairs(tap)
            table[out_rows, tap] = in_rows.int()
        return table
