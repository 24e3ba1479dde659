"""Loading weights into a model: all of them or, where asked, those that fit; and their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_MAX_LISTED = 20


@dataclass(frozen=True)
class ShapeMismatch:
    """An entry that the weights and the model both have, in another shape each."""

    name: str
    stored: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {list(self.stored)}, in the model {list(self.expected)}"


@dataclass(frozen=True)
class LoadReport:
    """How the weights of a file and the entries of a model's state dict go together.

    Names are those of the state dict: parameters and persistent buffers.
    """

    loaded: tuple[str, ...]
    """Entries of the same name and shape."""
    missing: tuple[str, ...]
    """Entries of the model that the weights lack: they keep their initial values."""
    unexpected: tuple[str, ...]
    """Entries of the weights that the model lacks."""
    mismatched: tuple[ShapeMismatch, ...]
    """Entries of the same name and another shape: they keep their initial values."""
    num_parameters_loaded: int
    """Numbers in the loaded parameters (buffers apart)."""
    num_parameters: int
    """Numbers in all parameters of the model."""

    @property
    def is_complete(self) -> bool:
        """Whether the weights and the model have the same entries in the same shapes."""
        return not (self.missing or self.unexpected or self.mismatched)

    @property
    def headline(self) -> str:
        """One line: how much was loaded."""
        entries = len(self.loaded) + len(self.missing) + len(self.mismatched)
        return (
            f"{len(self.loaded)} of {entries} entries fit, "
            f"{self.num_parameters_loaded:,} of {self.num_parameters:,} parameters"
        )

    def differences(self, max_listed: int = _MAX_LISTED) -> list[str]:
        """A line for each kind of difference, with count, names and shapes; at most ``max_listed``
        names a line.
        """
        kinds: list[tuple[str, Iterable[object]]] = [
            ("missing in the file", self.missing),
            ("unexpected in the file", self.unexpected),
            ("of another shape in the file", self.mismatched),
        ]
        return [_list(what, list(names), max_listed) for what, names in kinds if names]


def compare_weights(model: nn.Module, weights: Mapping[str, Any]) -> LoadReport:
    """How ``weights``, a state dict, and ``model`` go together; nothing is loaded."""
    own = model.state_dict()
    mismatched = tuple(
        ShapeMismatch(name, tuple(weights[name].shape), tuple(value.shape))
        for name, value in own.items()
        if name in weights and not _fits(value, weights[name])
    )
    others = {entry.name for entry in mismatched}
    loaded = tuple(name for name in own if name in weights and name not in others)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return LoadReport(
        loaded=loaded,
        missing=tuple(name for name in own if name not in weights),
        unexpected=tuple(name for name in weights if name not in own),
        mismatched=mismatched,
        num_parameters_loaded=sum(sizes.get(name, 0) for name in loaded),
        num_parameters=sum(sizes.values()),
    )


def load_weights(model: nn.Module, weights: Mapping[str, Any], source: str) -> None:
    """Load a state dict whole.

    A ValueError that names ``source`` lists what does not fit; the model is unchanged then.
    """
    report = compare_weights(model, weights)
    if not report.is_complete:
        raise ValueError(
            f"{source} was written by another model than the configuration describes "
            f"({report.headline}):" + "".join(f"\n  {line}" for line in report.differences())
        )
    model.load_state_dict(dict(weights))


def load_fitting(model: nn.Module, weights: Mapping[str, Any], source: str) -> LoadReport:
    """Load the entries of a state dict that ``model`` has in the same shape.

    The others keep their values; the report names them. A ValueError that names ``source`` where no
    parameter fits; the model is unchanged then.
    """
    report = compare_weights(model, weights)
    if report.num_parameters_loaded == 0:
        raise ValueError(
            f"{source} has no parameter that fits the model:"
            + "".join(f"\n  {line}" for line in report.differences())
        )
    model.load_state_dict({name: weights[name] for name in report.loaded}, strict=False)
    return report


def hash_weights(weights: Mapping[str, Any]) -> str:
    """SHA-256 of a state dict: names, dtypes, shapes and bits, whatever file or device they are on.

    Raises TypeError for an entry that is no tensor.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name]
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        bits = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(bits.numpy().tobytes())
    return digest.hexdigest()


def _fits(value: Any, stored: Any) -> bool:
    if isinstance(value, Tensor) and isinstance(stored, Tensor):
        return value.shape == stored.shape
    return type(value) is type(stored)


def _list(what: str, names: list[object], max_listed: int) -> str:
    more = f" and {len(names) - max_listed} more" if len(names) > max_listed else ""
    return f"{len(names)} {what}: {', '.join(map(str, names[:max_listed]))}{more}"
