from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.data import IGNORE_INDEX, NYU40, SCANNET20, LabelMap


def test_scannet20_is_the_benchmark_table() -> None:
    assert SCANNET20.num_classes == 20
    expected = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
    assert SCANNET20.raw_ids == expected
    assert SCANNET20.names[14] == "refrigerator"
    assert SCANNET20.names[-1] == "otherfurniture"
    assert SCANNET20.palette[4].tolist() == [188, 189, 34]
    assert len(NYU40) == 41
    assert NYU40[13].name == "blinds"
    assert NYU40[13].train_id == IGNORE_INDEX


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_every_other_raw_id_is_ignored(raw: list[int]) -> None:
    train = SCANNET20.to_train(np.array(raw, dtype=np.int64))
    assert train.dtype == np.int16
    known = {raw_id: i for i, raw_id in enumerate(SCANNET20.raw_ids)}
    assert train.tolist() == [known.get(r, IGNORE_INDEX) for r in raw]


def test_raw_and_train_ids_are_inverse() -> None:
    train = np.arange(-1, 20)
    raw = SCANNET20.to_raw(train)
    assert raw[0] == 0
    assert SCANNET20.to_train(raw).tolist() == train.tolist()
    assert SCANNET20.to_train(np.array([1, 65535], dtype=np.uint16)).tolist() == [0, -1]


def test_bad_labels_and_tables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"-1\.\.19, got 20"):
        SCANNET20.to_raw(np.array([0, 20]))
    with pytest.raises(TypeError, match="integers"):
        SCANNET20.to_train(np.array([1.0]))
    with pytest.raises(ValueError, match="distinct"):
        LabelMap("twice", ("a", "b"), (1, 1), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="as many of each"):
        LabelMap("short", ("a", "b"), (1,), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="'none': reads is empty"):
        LabelMap("none", ("a",), (1,), np.zeros((1, 3), np.uint8), reads={})


def test_the_caller_s_palette_stays_his_own() -> None:
    palette = np.zeros((1, 3), np.uint8)
    label_map = LabelMap("own", ("a",), (1,), palette)
    palette[0] = 7
    assert not label_map.palette.any() and not label_map.palette.flags.writeable
