"""Which errors of a command become one line, and which keep their traceback."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pointseg.cli import is_user_error, user_message
from pointseg.data import SCANNET20


class Broken(Dataset[int]):
    def __init__(self, ours: bool) -> None:
        self.ours = ours

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        if self.ours:
            SCANNET20.to_train(torch.ones(2).numpy())  # refused by the package: not integers
        raise ValueError("not ours")


def error_of(ours: bool, workers: int) -> Exception:
    with pytest.raises((ValueError, TypeError)) as caught:
        list(DataLoader(Broken(ours), num_workers=workers))
    return caught.value


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_package_is_one_line_from_any_process(workers: int) -> None:
    error = error_of(ours=True, workers=workers)
    assert is_user_error(error)
    assert user_message(error) == str(error_of(ours=True, workers=0))
    assert "\n" not in user_message(error)


@pytest.mark.parametrize("workers", [0, 1])
def test_other_errors_keep_their_traceback(workers: int) -> None:
    assert not is_user_error(error_of(ours=False, workers=workers))
