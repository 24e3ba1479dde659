"""What a scene is coloured by, and from where it is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from pointseg.evaluation import S3DIS_RULE, SCANNET_RULE
from pointseg.visualization.colors import (
    category_colors,
    hex_rgb,
    scale_colors,
    shading,
    value_range,
)
from pointseg.visualization.fields import CORRECT, UNSCORED, WRONG, SceneFields, scene_fields
from pointseg.visualization.framing import ceiling_height_m, frame
from pointseg.visualization.open3d_window import field_colors, require_display, show_window
from tests.visualization.rooms import (
    CEILING_M,
    FLOOR,
    LABEL_MAP,
    TABLE,
    flawed_predictions,
    room,
    some_choices,
)


def by_key(fields: SceneFields, key: str):
    return next(field for field in fields.fields if field.key == key)


def test_fields_are_what_the_cloud_allows() -> None:
    cloud = room()
    bare = cloud.replace(color=None, labels=None)
    assert scene_fields(bare, LABEL_MAP).keys == ("height",)
    assert scene_fields(cloud, LABEL_MAP).keys == ("rgb", "label", "height")
    full = scene_fields(cloud, LABEL_MAP, flawed_predictions(cloud), {"a": cloud.xyz_m[:, 0]})
    assert full.keys == ("rgb", "label", "prediction", "error", "height", "a")
    assert full.default_views() == ("label", "prediction")
    assert scene_fields(cloud, LABEL_MAP).default_views() == ("rgb", "label")
    assert scene_fields(bare, LABEL_MAP).default_views() == ("height",)


def test_counts_and_iou_are_of_all_points() -> None:
    cloud = room()
    predictions = flawed_predictions(cloud)
    fields = scene_fields(cloud, LABEL_MAP, predictions, rule=SCANNET_RULE)
    label, prediction = by_key(fields, "label"), by_key(fields, "prediction")
    table = (cloud.labels == TABLE).sum()
    missed = ((cloud.labels == TABLE) & (predictions == FLOOR)).sum()
    assert label.categories[TABLE].count == table
    assert prediction.categories[TABLE].count == table - missed
    assert label.categories[-1].count == (cloud.labels == -1).sum()
    assert sum(category.count for category in label.categories) == cloud.num_points
    assert label.categories[TABLE].iou == pytest.approx((table - missed) / table)
    floor = (cloud.labels == FLOOR).sum()
    assert label.categories[FLOOR].iou == pytest.approx(floor / (floor + missed))
    assert label.categories[3].iou is None, "the lamp occurs nowhere"
    assert fields.scores is not None
    ious = [1.0, floor / (floor + missed), (table - missed) / table]
    assert fields.scores.mean_iou == pytest.approx(np.mean(ious))
    other = scene_fields(cloud, LABEL_MAP, predictions, rule=S3DIS_RULE)
    assert other.scores.mean_iou == pytest.approx(sum(ious) / LABEL_MAP.num_classes)
    unscored = scene_fields(cloud, LABEL_MAP, predictions)
    assert unscored.scores is None and unscored.keys == fields.keys


def test_error_has_three_kinds() -> None:
    cloud = room()
    predictions = flawed_predictions(cloud)
    error = by_key(scene_fields(cloud, LABEL_MAP, predictions), "error").values
    np.testing.assert_array_equal(error == UNSCORED, cloud.labels < 0)
    scored = cloud.labels >= 0
    np.testing.assert_array_equal((error == WRONG)[scored], (predictions != cloud.labels)[scored])
    np.testing.assert_array_equal((error == CORRECT)[scored], (predictions == cloud.labels)[scored])


def test_predictions_outside_the_classes_are_none() -> None:
    cloud = room()
    predictions = flawed_predictions(cloud)
    predictions[:5] = (-1, 4, 99, -100, 255)
    field = by_key(scene_fields(cloud, LABEL_MAP, predictions), "prediction")
    assert field.categories[-1].name == "none"
    assert field.categories[-1].count == 5


@pytest.mark.parametrize(
    ("dtype", "modulus", "kind"),
    [
        ("bool", 2, "category"),
        ("int64", 5, "category"),
        ("int64", 1000, "continuous"),
        ("float64", 5, "continuous"),
        ("float16", 5, "continuous"),
        ("uint8", 3, "category"),
    ],
)
def test_kind_of_an_array_follows_its_values(dtype: str, modulus: int, kind: str) -> None:
    cloud = room()
    values = (np.arange(cloud.num_points) % modulus).astype(dtype)
    field = by_key(scene_fields(cloud, LABEL_MAP, arrays={"a": values}), "a")
    assert field.kind == kind
    if kind == "category":
        names = np.array([category.name for category in field.categories])
        np.testing.assert_array_equal(names[field.values], values.astype(str))
    else:
        np.testing.assert_array_equal(field.values, values.astype(np.float32))


def test_arrays_that_do_not_fit_are_refused_by_name() -> None:
    cloud = room()
    points = cloud.num_points
    for values, problem in (
        (np.zeros(points - 1), "array 'a': expected one value for each"),
        (np.zeros((points, 3)), r"array 'a': expected shape \[P\], or uint8 \[P, 3\]"),
        (np.zeros((points, 2, 2)), "array 'a': expected one value for each"),
        (np.float32(3), "array 'a': expected one value for each"),
    ):
        with pytest.raises(ValueError, match=problem):
            scene_fields(cloud, LABEL_MAP, arrays={"a": np.asarray(values)})
    with pytest.raises(TypeError, match="array 'a': expected real numbers"):
        scene_fields(cloud, LABEL_MAP, arrays={"a": np.full(points, "x")})
    with pytest.raises(ValueError, match="'label' is taken"):
        scene_fields(cloud, LABEL_MAP, arrays={"label": np.zeros(points)})
    with pytest.raises(TypeError, match="predictions: expected integer"):
        scene_fields(cloud, LABEL_MAP, np.zeros(points))
    with pytest.raises(ValueError, match="predictions: expected one id"):
        scene_fields(cloud, LABEL_MAP, np.zeros(points + 1, dtype=np.int16))


def test_choices_become_entries_and_entropies() -> None:
    cloud = room()
    choices = some_choices(cloud)
    fields = scene_fields(cloud, LABEL_MAP, choices=choices)
    assert fields.keys[-4:] == (
        "encoder.1/entry",
        "decoder.0/entry",
        "encoder.1/entropy",
        "decoder.0/entropy",
    )
    entry, entropy = (by_key(fields, f"encoder.1/{kind}") for kind in ("entry", "entropy"))
    np.testing.assert_array_equal(entry.values, choices["encoder.1"].entry)
    assert [c.name for c in entry.categories] == [
        "0: cube 3",
        "1: cube 3, dilation 2",
        "2: cross 3",
    ]
    assert [c.count for c in entry.categories] == np.bincount(entry.values).tolist()
    np.testing.assert_array_equal(entropy.values, choices["encoder.1"].entropy)
    assert (entropy.kind, entropy.limits, entropy.unit) == ("continuous", (0, np.log(3)), "nat")
    # entries that are never chosen are listed, and a sure stage has the scale of all others
    unused = by_key(fields, "decoder.0/entry").categories
    assert [c.count for c in unused] == [0, cloud.num_points, 0]
    assert by_key(fields, "decoder.0/entropy").limits == entropy.limits


def test_choices_that_do_not_fit_are_refused_by_name() -> None:
    cloud = room()
    choices = some_choices(cloud)
    with pytest.raises(ValueError, match="choices: encoder.1 has 8,506 rows, but room_a has 10"):
        scene_fields(cloud.select(np.arange(10)), LABEL_MAP, choices=choices)
    arrays = {"decoder.0/entry": np.zeros(cloud.num_points)}
    with pytest.raises(ValueError, match="'decoder.0/entry' is taken by a choice"):
        scene_fields(cloud, LABEL_MAP, arrays=arrays, choices=choices)


def test_category_colors_differ_and_are_stable() -> None:
    colors = category_colors(64)
    assert len(set(colors)) == 64
    assert category_colors(5) == colors[:5]


def test_scale_ignores_strays_and_missing_values() -> None:
    values = np.concatenate((np.linspace(0, 1, 999), [1e6, np.nan, np.inf]))
    low, high = value_range(values)
    assert 0 <= low < high < 2
    assert value_range(np.array([np.nan])) == (0.0, 1.0)
    assert value_range(np.array([3.0, 3.0])) == (2.5, 3.5)
    ends = scale_colors(np.array([-5.0, 0.0, 1.0, 7.0]), 0.0, 1.0)
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[2], ends[3])
    assert tuple(ends[0]) == hex_rgb("#3b2f6b")


def test_shading_is_full_where_the_normal_is_unknown() -> None:
    normal = np.array([[0, 0, 1], [0, 0, -1], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    up, down, side, unknown = shading(normal).tolist()
    assert up == down > side > 100
    assert unknown == 255


def test_ceiling_is_found_and_only_where_there_is_one() -> None:
    cloud = room()
    clip = ceiling_height_m(cloud.xyz_m)
    assert clip is not None
    assert CEILING_M - 0.3 < clip < CEILING_M
    assert ceiling_height_m(cloud.xyz_m[cloud.labels >= 0]) is None
    assert ceiling_height_m(cloud.xyz_m * (40, 40, 1)) is None, "too wide for a room"
    assert ceiling_height_m(cloud.xyz_m[:10]) is None


def test_view_is_from_the_open_side() -> None:
    framing = frame(room().xyz_m)  # without a wall at the largest x
    assert np.cos(np.radians(framing.azimuth_deg)) > 0.8
    assert framing.floor_m == pytest.approx(0.0, abs=0.01)
    assert frame(np.zeros((0, 3))).clip_m is None


def test_window_colors_are_those_of_the_page() -> None:
    cloud = room()
    arrays = {"a": np.where(np.arange(cloud.num_points) == 0, np.nan, cloud.xyz_m[:, 0])}
    fields = scene_fields(cloud, LABEL_MAP, flawed_predictions(cloud), arrays)
    rows = np.arange(0, cloud.num_points, 7)
    for field in fields.fields:
        colors = field_colors(field, rows)
        assert colors.shape == (len(rows), 3)
        assert colors.dtype == np.uint8
    label = field_colors(by_key(fields, "label"), rows)
    known = cloud.labels[rows] >= 0
    np.testing.assert_array_equal(label[known], LABEL_MAP.palette[cloud.labels[rows][known]])


def test_window_without_a_display_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(OSError, match="--viewer plotly"):
        require_display()


def test_window_without_open3d_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    with pytest.raises(ImportError, match=r"pip install 'pointseg\[open3d\]'"):
        show_window(room(), LABEL_MAP)
