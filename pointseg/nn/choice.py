"""How a voxel chooses among codebook entries: from logits to shares [N, H, D].

The operators take any shares; a strategy is a module. Each gets logits already divided by the
temperature, plus the logarithm of the geometry prior where there is one:
``choice proportional to softmax(logits / tau) * prior = softmax(logits / tau + log prior)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointseg.nn.quantizer import VectorQuantizer
from pointseg.recompute import is_second_pass

STRATEGIES = ("soft", "topk", "hard", "vq")
SHAPES = ("constant", "linear", "cosine", "exponential")


@dataclass(frozen=True)
class ChoiceConfig:
    """Which strategy, and its constants.

    Raises ValueError that names the field.
    """

    name: str = "soft"
    """soft, topk, hard or vq."""
    k: int = 2
    """Entries that topk keeps."""
    code_dim: int = 8
    """Dimensions of a code of vq."""
    decay: float = 0.99
    """Decay of the moving averages that the codes of vq are, per forward pass in training."""
    commitment: float = 0.25
    """Factor of the loss of vq that draws vectors to their codes."""
    dead_below: float = 0.01
    """A code of vq that is chosen by less than this share of the average is seeded anew."""

    def __post_init__(self) -> None:
        if self.name not in STRATEGIES:
            raise ValueError(f"name: expected one of {', '.join(STRATEGIES)}, got {self.name!r}")
        if not isinstance(self.k, int) or self.k < 2:
            raise ValueError(
                f"k: expected an integer of at least 2, got {self.k!r}: a single kept entry has "
                "the share 1 whatever its logit, and nothing learns to choose; use 'hard' for that"
            )
        if not isinstance(self.code_dim, int) or self.code_dim < 1:
            raise ValueError(f"code_dim: expected a positive integer, got {self.code_dim!r}")
        if not 0.0 < self.decay < 1.0:
            raise ValueError(f"decay: expected a number between 0 and 1, got {self.decay}")
        if self.commitment < 0:
            raise ValueError(f"commitment: must not be negative, got {self.commitment}")
        if not 0.0 <= self.dead_below < 1.0:
            raise ValueError(f"dead_below: expected a number in [0, 1), got {self.dead_below}")


@dataclass(frozen=True)
class TemperatureConfig:
    """The temperature of the choice over a training run.

    Raises ValueError that names the field.
    """

    start: float = 1.0
    """In the first step."""
    end: float = 1.0
    """When the run is over. The trained model is used with that of the last step, whose progress
    is one step short of 1.
    """
    shape: str = "constant"
    """constant, linear, cosine or exponential between the two."""

    def __post_init__(self) -> None:
        for field in ("start", "end"):
            value = getattr(self, field)
            if not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"{field}: must be a positive number, got {value!r}")
        if self.shape not in SHAPES:
            raise ValueError(f"shape: expected one of {', '.join(SHAPES)}, got {self.shape!r}")
        if self.shape == "constant" and self.start != self.end:
            raise ValueError(
                f"shape: 'constant' goes nowhere from start {self.start} to end {self.end}; "
                "choose linear, cosine or exponential"
            )

    def at(self, progress: float) -> float:
        """The temperature when a share `progress` in [0, 1] of the run is over."""
        if not 0.0 <= progress <= 1.0:
            raise ValueError(f"progress: expected a share in [0, 1], got {progress}")
        if self.shape == "exponential":
            return self.start * (self.end / self.start) ** progress
        if self.shape == "cosine":
            progress = (1.0 - math.cos(math.pi * progress)) / 2.0
        return self.start + (self.end - self.start) * progress


class SoftChoice(nn.Module):
    """Softmax over the entries."""

    def forward(self, logits: Tensor) -> Tensor:
        return entry_softmax(logits)


class TopKChoice(nn.Module):
    """Softmax over the `k` largest logits; the other shares are exactly 0."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, logits: Tensor) -> Tensor:
        kept = logits.topk(self.k, dim=2).indices
        left_out = torch.ones_like(logits, dtype=torch.bool).scatter_(2, kept, False)
        return entry_softmax(logits.masked_fill(left_out, -math.inf))

    def extra_repr(self) -> str:
        return f"k={self.k}"


class HardChoice(nn.Module):
    """All of the entry with the largest logit, straight-through: the gradient is softmax's.

    Shares are exactly 0 and 1, so operators skip what is not chosen.
    """

    def forward(self, logits: Tensor) -> Tensor:
        return straight_through(best_entry(logits), entry_softmax(logits))


class QuantizedChoice(nn.Module):
    """All of the entry with the nearest code, straight-through (van den Oord et al. 2017).

    A learned linear map takes the features to a vector per head; entry d has a code per head,
    which is independent of its weights. The gradient of the shares is that of
    ``softmax(-distance^2 / tau)``. Codes are moving averages of the vectors that chose them, see
    `VectorQuantizer`.
    """

    def __init__(self, channels: int, heads: int, entries: int, config: ChoiceConfig) -> None:
        super().__init__()
        self.heads = heads
        self.map = nn.Linear(channels, heads * config.code_dim)
        self.quantizer = VectorQuantizer(
            heads, entries, config.code_dim, config.decay, config.dead_below
        )
        self.commitment = config.commitment
        self.last_commitment: Tensor | None = None

    def forward(self, feats: Tensor, temperature: Tensor) -> Tensor:
        vectors = self.map(feats).unflatten(1, (self.heads, -1))
        # Distances of close codes are lost in 16 bits.
        with torch.autocast(feats.device.type, enabled=False):
            vectors = vectors.float() if vectors.element_size() == 2 else vectors
            found = self.quantizer(vectors)
        commitment = None
        if self.training:
            error = (vectors - found.nearest).square().sum(dim=2)
            commitment = self.commitment * error.sum() / max(error.numel(), 1)
        if not is_second_pass():
            self.last_commitment = commitment
        return straight_through(found.code, entry_softmax(-found.distances / temperature))

    def __getstate__(self) -> dict[str, object]:
        """Without the term of the last pass, which belongs to its graph and cannot be copied."""
        return {**self.__dict__, "last_commitment": None}


# Operators lay [N, H, D] out with the heads last, and so do these two: torch is several times
# slower where the axis it works along is the last one and has a few elements.


def entry_softmax(logits: Tensor) -> Tensor:
    """Softmax of [N, H, D] over the entries."""
    return logits.transpose(1, 2).softmax(dim=1).transpose(1, 2)


def best_entry(shares: Tensor) -> Tensor:
    """int64 [N, H]: the entry with the largest value of [N, H, D]."""
    return shares.transpose(1, 2).max(dim=1).indices


def straight_through(index: Tensor, shares: Tensor) -> Tensor:
    """One-hot of `index` [N, H] with the gradient of `shares` [N, H, D]; exactly 0 and 1."""
    entries = torch.arange(shares.shape[2], device=index.device)
    one_hot = (index[..., None] == entries).to(shares.dtype)
    # The bracket is exactly zero, so the sum is exact, which (one_hot + shares) - shares is not.
    return one_hot + (shares - shares.detach())


def build_choice(config: ChoiceConfig, entries: int) -> nn.Module:
    """The strategy that works on logits; vq has `QuantizedChoice`."""
    if config.name == "topk":
        if config.k > entries:
            raise ValueError(f"k: {config.k} of {entries} entries cannot be kept")
        return TopKChoice(config.k)
    return {"soft": SoftChoice, "hard": HardChoice}[config.name]()
