"""Where commands run a model."""

from __future__ import annotations

import pytest
import torch

from pointseg import _native
from pointseg.cli._device import chosen_device


def test_auto_is_the_cpu_where_the_operators_have_no_gpu_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_native, "has_kernel", lambda *_: False)
    assert chosen_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"--device cuda: .*no CUDA kernels.*--device cpu"):
        chosen_device("cuda")


def test_auto_is_the_gpu_where_both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_native, "has_kernel", lambda *_: True)
    assert chosen_device("auto") == torch.device("cuda")
    assert chosen_device("cuda:1") == torch.device("cuda:1")


def test_no_gpu_and_no_such_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="torch sees no GPU"):
        chosen_device("cuda")
    with pytest.raises(ValueError, match="--device must be"):
        chosen_device("abacus")
