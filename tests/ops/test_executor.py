"""What GPU threads do, by the words of NVIDIA's PTX manual: emulated ones, and real ones.

The kernels of `executor_check` use every primitive of `csrc/kernels/cuda/executor.h` on random
bits. What must come of them is computed here from the manual's tables of fragments (its sections on
`mma.m16n8k16`, `mma.m16n8k8` and `ldmatrix`) and from the definitions of the number formats.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.cuda_kernels

THREADS, BLOCKS, PARTS, WARP = 64, 2, 2, 32

# CheckInput, CheckOutput and NumberCheck of csrc/kernels/cuda/executor_check.h.
INPUT = np.dtype(
    [(name, "<i4") for name in ("vote", "value", "from_lane", "there")]
    + [("copied", "<i4", (2, 4)), ("matrix_row", "<i4", 4)]
    + [("a", "<i4", (3, 4)), ("b", "<i4", (3, 2)), ("sum", "<i4", (3, 4)), ("padding", "<i4", 2)]
)
PLACE = ("thread", "warp", "lane", "block", "blocks", "part", "parts")
OUTPUT = np.dtype(
    [(name, "<i4") for name in (*PLACE, "ballot", "shuffled")]
    + [("crossed", "<i4", 5), ("wide", "<i4", 2), ("early", "<i4", 4), ("late", "<i4", 4)]
    + [("matrices", "<i4", 4), ("turned", "<i4", 4), ("product", "<i4", (3, 4))]
)
NUMBER = np.dtype(
    [(n, "<i4") for n in ("from_half", "from_bfloat16", "to_half", "to_bfloat16", "to_tf32")]
)

GROUP, IN_GROUP = np.divmod(np.arange(WARP), 4)  # groupID and threadID_in_group of the manual


def random_words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-(2**31), 2**31, shape).astype("<i4")


def lanes_input(seed: int = 1) -> np.ndarray:
    """Random bits; integers that every format holds exactly in the fragments."""
    rng = np.random.default_rng(seed)
    lanes = np.zeros(THREADS, INPUT)
    lanes["vote"] = rng.integers(0, 2, THREADS)
    lanes["value"] = random_words(rng, THREADS)
    lanes["from_lane"] = rng.integers(0, WARP, THREADS)
    lanes["there"] = rng.integers(0, 4, THREADS)
    lanes["copied"] = random_words(rng, THREADS, 2, 4)
    lanes["matrix_row"] = random_words(rng, THREADS, 4)
    for which, (dtype, per_word, largest) in enumerate(FORMATS):
        for name in ("a", "b"):
            words = lanes[name].shape[-1]
            numbers = rng.integers(-largest, largest + 1, (THREADS, words * per_word))
            lanes[name][:, which] = to_bits(numbers, dtype).view("<i4")
        lanes["sum"][:, which] = rng.integers(-99, 99, (THREADS, 4)).astype("<f4").view("<i4")
    return lanes


# Storage of Half, Bfloat16 and Tf32 in fragments: dtype, numbers a word, and how large integers may
# be so that all sums are exact.
FORMATS = (("half", 2, 100), ("bfloat16", 2, 100), ("tf32", 1, 1000))


def to_bits(numbers: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "half":
        return numbers.astype("<f2").view("<u2")
    wide = numbers.astype("<f4").view("<u4")
    return wide if dtype == "tf32" else (wide >> 16).astype("<u2")


def from_bits(words: np.ndarray, dtype: str) -> np.ndarray:
    words = np.ascontiguousarray(words)
    if dtype == "half":
        return words.view("<f2").astype("f8")
    if dtype == "tf32":
        return words.view("<f4").astype("f8")
    return (words.view("<u2").astype("<u4") << 16).view("<f4").astype("f8")


def run(lanes: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [parts, blocks, threads] and numbers [words]."""
    outputs, numbers = torch.ops.pointseg.executor_check(
        torch.from_numpy(lanes.view("<i4").reshape(THREADS, -1)), torch.from_numpy(words)
    )
    return (
        outputs.numpy().view(OUTPUT).reshape(PARTS, BLOCKS, THREADS),
        numbers.numpy().view(NUMBER).reshape(-1),
    )


@pytest.fixture(params=["ascending", "descending"])
def outputs(
    request: pytest.FixtureRequest, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    monkeypatch.setenv("POINTSEG_EMULATED_ORDER", request.param)
    return run(lanes_input(), np.zeros(0, "<i4"))[0]


def test_places(outputs: np.ndarray) -> None:
    part, block, thread = np.indices(outputs.shape)
    assert np.array_equal(outputs["thread"], thread)
    assert np.array_equal(outputs["warp"], thread // WARP)
    assert np.array_equal(outputs["lane"], thread % WARP)
    assert np.array_equal(outputs["block"], block)
    assert np.array_equal(outputs["part"], part)
    assert (outputs["blocks"] == BLOCKS).all()
    assert (outputs["parts"] == PARTS).all()


def by_warp(outputs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Input and output of the lanes of every warp of every block."""
    lanes = lanes_input().reshape(-1, WARP)
    grouped = outputs.reshape(-1, THREADS // WARP, WARP)
    return [(lanes[warp], block[warp]) for block in grouped for warp in range(len(lanes))]


def test_lanes_vote_and_exchange(outputs: np.ndarray) -> None:
    for lanes, found in by_warp(outputs):
        ballot = sum(1 << lane for lane in range(WARP) if lanes["vote"][lane])
        assert (found["ballot"].view("<u4") == ballot).all()
        assert np.array_equal(found["shuffled"], lanes["value"][lanes["from_lane"]])
        for bit in range(5):
            other = lanes["value"][np.arange(WARP) ^ (1 << bit)]
            assert np.array_equal(found["crossed"][:, bit], other)
        assert np.array_equal(found["wide"][:, 0], lanes["from_lane"])
        assert np.array_equal(found["wide"][:, 1], lanes["from_lane"][lanes["from_lane"]])


def test_copies_arrive_in_groups_and_are_zero_where_nothing_is(outputs: np.ndarray) -> None:
    lanes = lanes_input()
    first = np.where((lanes["there"] & 1)[:, None], lanes["copied"][:, 0], 0)
    second = np.where((lanes["there"] & 2)[:, None], lanes["copied"][:, 1], 0)
    for found in outputs.reshape(-1, THREADS):
        assert np.array_equal(found["early"], first)
        assert np.array_equal(found["late"], np.roll(second, -1, axis=0))


def test_matrices_are_loaded_as_fragments(outputs: np.ndarray) -> None:
    for lanes, found in by_warp(outputs):
        rows = np.ascontiguousarray(lanes["matrix_row"]).view("<u2").reshape(4, 8, 8)
        for name, matrices in (("matrices", rows), ("turned", rows.transpose(0, 2, 1))):
            pairs = np.stack([matrices[:, GROUP, 2 * IN_GROUP + j] for j in (0, 1)], axis=-1)
            words = np.ascontiguousarray(pairs).view("<i4")[..., 0]
            assert np.array_equal(found[name], words.T), name


def fragment_places(dtype: str) -> tuple[list, list, list]:
    """(row, column) of every element of a lane's fragments of A [16, K], B [K, 8] and C [16, 8]."""
    c = [(GROUP + 8 * (i // 2), 2 * IN_GROUP + i % 2) for i in range(4)]
    if dtype == "tf32":
        a = [(GROUP + 8 * (i % 2), IN_GROUP + 4 * (i // 2)) for i in range(4)]
        b = [(IN_GROUP + 4 * i, GROUP) for i in range(2)]
        return a, b, c
    a = [
        (GROUP + (0 if i in (0, 1, 4, 5) else 8), 2 * IN_GROUP + i % 2 + (8 if i >= 4 else 0))
        for i in range(8)
    ]
    b = [(2 * IN_GROUP + i % 2 + (8 if i >= 2 else 0), GROUP) for i in range(4)]
    return a, b, c


@pytest.mark.parametrize("which", range(3), ids=[name for name, _, _ in FORMATS])
def test_tensor_cores_multiply(outputs: np.ndarray, which: int) -> None:
    dtype = FORMATS[which][0]
    places = fragment_places(dtype)
    depth = 8 if dtype == "tf32" else 16
    for lanes, found in by_warp(outputs):
        matrices = [np.full(shape, np.nan) for shape in ((16, depth), (depth, 8), (16, 8))]
        fragments = (
            from_bits(lanes["a"][:, which], dtype),
            from_bits(lanes["b"][:, which], dtype),
            from_bits(lanes["sum"][:, which], "tf32"),
        )
        for matrix, fragment, elements in zip(matrices, fragments, places, strict=True):
            for i, place in enumerate(elements):
                matrix[place] = fragment[:, i]
        a, b, c = matrices
        expected = a @ b + c
        assert np.isfinite(expected).all()
        product = from_bits(found["product"][:, which], "tf32")
        for i, place in enumerate(places[2]):
            assert np.array_equal(product[:, i], expected[place])


def same_numbers(bits: np.ndarray, expected: np.ndarray) -> bool:
    """Equal bits; of nan, which carries different bits on every machine, that it is one."""
    nan = np.isnan(expected)
    found = bits.astype({2: "<u2", 4: "<u4"}[expected.dtype.itemsize]).view(expected.dtype)
    kind = f"<u{expected.dtype.itemsize}"
    return bool(np.isnan(found[nan]).all()) and np.array_equal(
        found[~nan].view(kind), expected[~nan].view(kind)
    )


def test_every_half_and_bfloat16_is_widened() -> None:
    words = np.arange(1 << 16, dtype="<i4")
    _, numbers = run(lanes_input(), words)
    half = words.astype("<u2").view("<f2").astype("<f4")
    assert same_numbers(numbers["from_half"], half)
    assert same_numbers(numbers["from_bfloat16"], (words.view("<u4") << 16).view("<f4"))


def round_tf32(numbers: np.ndarray) -> np.ndarray:
    """Ten bits of mantissa, ties away from zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = np.abs(numbers.astype("f8"))
        exponent = np.maximum(np.frexp(wide)[1] - 1, -126)
        quantum = np.ldexp(1.0, exponent - 10)
        rounded = np.floor(wide / quantum + 0.5) * quantum
        rounded = np.where(np.isfinite(wide), rounded, wide)
        return np.copysign(rounded, numbers).astype("<f4")


def test_numbers_are_rounded_to_nearest() -> None:
    """All 16-bit numbers, what lies half-way to the next one, and the float32 on either side."""
    every = np.arange(1 << 16, dtype="<u2")
    with np.errstate(over="ignore", invalid="ignore"):
        half = every.view("<f2").astype("f8")
        above = np.nextafter(every.view("<f2"), np.float16(np.inf)).astype("f8")
        halfway = ((half + above) / 2).astype("<f4").view("<u4")
        half = half.astype("<f4").view("<u4")
    brain = every.astype("<u4") << 16
    tf32 = every.astype("<u4") << 13
    words = [base + near for base in (brain, brain + 0x8000, halfway, tf32) for near in (0, 1)]
    words += [base - np.uint32(1) for base in (brain + 0x8000, halfway, tf32)]
    beyond = np.array([65520, -65520, 65519.996, 1e-40, -1e-40, 0.0, -0.0], "<f4").view("<u4")
    words += [half, tf32 + 0x1000, beyond]
    bits = np.concatenate(words).astype("<u4")
    _, numbers = run(lanes_input(), bits.view("<i4"))
    values = bits.view("<f4")
    with np.errstate(over="ignore", invalid="ignore"):
        assert same_numbers(numbers["to_half"], values.astype("<f2"))
    rounded = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view("<u2")
    expected = (rounded.astype("<u4") << 16).view("<f4")
    assert same_numbers(numbers["to_bfloat16"].view("<u4") << 16, expected)
    assert same_numbers(numbers["to_tf32"], round_tf32(values))
