"""What is written into a page, and what the command does."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli.visualize import main
from pointseg.data import find_spec
from pointseg.evaluation import SCANNET_RULE
from pointseg.evaluation.choice_files import write_choices
from pointseg.visualization import write_index_page, write_scene_page
from pointseg.visualization.payload import pack_arrays, quantise
from pointseg.visualization.sources import read_predictions
from tests.visualization.rooms import LABEL_MAP, flawed_predictions, room, some_choices


def block(text: str, name: str) -> str:
    match = re.search(rf'<script [^>]*id="{name}">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return match[1]


def unpacked(text: str) -> tuple[dict, dict[str, np.ndarray]]:
    scene = json.loads(block(text, "scene"))
    data = gzip.decompress(base64.b64decode(block(text, "data")))
    arrays = {
        name: np.frombuffer(data, column["dtype"], column["length"], column["offset"])
        for name, column in scene["columns"].items()
    }
    return scene, arrays


def test_page_holds_what_it_shows(tmp_path: Path) -> None:
    cloud = room()
    predictions = flawed_predictions(cloud)
    path = tmp_path / "room.html"
    summary = write_scene_page(path, cloud, LABEL_MAP, predictions, max_points=2000)
    text = path.read_text(encoding="utf-8")
    scene, arrays = unpacked(text)
    index = arrays["index"].astype(np.int64)
    assert scene["numPoints"] == cloud.num_points == summary.num_points
    assert scene["numShown"] == len(index) == summary.num_shown <= 2000
    assert f"shown {len(index):,} of {cloud.num_points:,} points" in text
    for axis, name in enumerate("xyz"):
        xyz = scene["xyz"]["low"][axis] + arrays[name] * scene["xyz"]["step"][axis]
        np.testing.assert_allclose(xyz, cloud.xyz_m[index, axis], atol=4.0 / 65535)
    fields = {field["key"]: field for field in scene["fields"]}
    codes = arrays[fields["prediction"]["column"]]
    np.testing.assert_array_equal(codes, predictions[index])
    labels = np.where(cloud.labels < 0, LABEL_MAP.num_classes, cloud.labels)
    np.testing.assert_array_equal(arrays[fields["label"]["column"]], labels[index])
    rgb = arrays[fields["rgb"]["column"]].reshape(-1, 3)
    np.testing.assert_array_equal(rgb, cloud.color[index])
    assert [c["color"] for c in fields["label"]["categories"]][0] == "#3c5ac8"


def test_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "room.html"
    write_scene_page(path, room(), LABEL_MAP, max_points=100)
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", text)
    plotly = gzip.decompress(base64.b64decode(block(text, "plotly")))
    assert b"scatter3d" in plotly
    assert path.stat().st_size < 3_000_000


def test_same_scene_gives_the_same_page(tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in pages:
        write_scene_page(path, room(), LABEL_MAP, flawed_predictions(room()), max_points=500)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    path = tmp_path / "room.html"
    arrays = {"</script><b>": room().xyz_m[:, 0]}
    write_scene_page(path, room(), LABEL_MAP, arrays=arrays, title="<i>{{DATA}}</i>")
    text = path.read_text(encoding="utf-8")
    scene, _ = unpacked(text)
    assert scene["fields"][-1]["key"] == "</script><b>"
    assert "<title>&lt;i&gt;{{DATA}}&lt;/i&gt;</title>" in text


def test_existing_page_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "room.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"room\.html"):
        write_scene_page(path, room(), LABEL_MAP)
    assert path.read_text() == "mine"
    write_scene_page(path, room(), LABEL_MAP, overwrite=True)
    assert path.stat().st_size > 1_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["room.html"], "no temporary file is left"


def test_bad_views_are_refused(tmp_path: Path) -> None:
    for views, problem in (
        (["label", "smell"], "cannot be coloured by 'smell'; it has rgb, label, height"),
        ([], "expected 1 to 3 views, got 0"),
        (["rgb"] * 4, "expected 1 to 3 views, got 4"),
    ):
        with pytest.raises(ValueError, match=problem):
            write_scene_page(tmp_path / "x.html", room(), LABEL_MAP, views=views)
    assert not list(tmp_path.iterdir())


def test_empty_and_flat_clouds_are_drawn(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        cloud = room().select(np.arange(number))
        write_scene_page(tmp_path / f"{number}.html", cloud, LABEL_MAP)


def test_coordinates_are_kept_to_half_a_step() -> None:
    xyz = np.random.default_rng(1).uniform(-50, 50, (1000, 3)).astype(np.float32)
    codes, low, step = quantise(xyz)
    restored = np.array(low) + codes.T * np.array(step)
    assert np.abs(restored - xyz).max() <= 0.5 * 100 / 65535 * 1.001


def test_arrays_begin_where_typed_arrays_can(tmp_path: Path) -> None:
    packed = pack_arrays({"a": np.zeros(3, np.uint8), "b": np.arange(5, dtype=np.float32)})
    assert packed.table["b"] == {"dtype": "float32", "offset": 4, "length": 5}
    with pytest.raises(TypeError, match="'c' of dtype int64"):
        pack_arrays({"c": np.zeros(3, np.int64)})


def test_index_links_pages(tmp_path: Path) -> None:
    cloud = room()
    pages = [
        write_scene_page(tmp_path / "pages" / "a b.html", cloud, LABEL_MAP, title="<a>"),
        write_scene_page(
            tmp_path / "pages" / "c.html",
            cloud,
            LABEL_MAP,
            flawed_predictions(cloud),
            rule=SCANNET_RULE,
        ),
    ]
    text = write_index_page(tmp_path / "index.html", pages).read_text(encoding="utf-8")
    assert '<a href="pages/a%20b.html">&lt;a&gt;</a>' in text
    assert f"{pages[1].mean_iou:.3f}" in text
    with pytest.raises(FileExistsError):
        write_index_page(tmp_path / "index.html", pages)


# -- the command ------------------------------------------------------------------------------


def save_cloud(folder: Path) -> Path:
    cloud = room()
    path = folder / "room_a.npy"
    np.save(path, np.hstack((cloud.xyz_m, cloud.color.astype(np.float32))))
    return path


def test_command_draws_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = room()
    path = save_cloud(tmp_path)
    np.save(tmp_path / "room_a_height.npy", cloud.xyz_m[:, 2])
    labels = tmp_path / "labels"
    labels.mkdir()
    np.save(labels / "room_a.npy", flawed_predictions(cloud))
    out = tmp_path / "pages"
    pattern = f"z={tmp_path}/{{scene}}_height.npy"
    arguments = [str(path), "--preds", str(labels), "--array", pattern, "--out", str(out)]
    assert main([*arguments, "--views", "z,prediction", "--max-points", "1000"]) == 0
    assert "points shown" in capsys.readouterr().out
    scene, _ = unpacked((out / "room_a.html").read_text(encoding="utf-8"))
    assert scene["views"] == ["z", "prediction"]
    assert scene["numShown"] <= 1000
    assert "room_a.html" in (out / "index.html").read_text(encoding="utf-8")
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_command_finds_choices_beside_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = room()
    path, labels = save_cloud(tmp_path), tmp_path / "labels"
    choices = some_choices(cloud)
    write_choices(labels, "room_a", choices)
    np.save(labels / "room_a.npy", flawed_predictions(cloud))
    arguments = [str(path), "--preds", str(labels), "--out", str(tmp_path / "p.html")]
    views = "encoder.1/entry,encoder.1/entropy"
    assert main([*arguments, "--views", views, "--max-points", "1000"]) == 0
    scene, arrays = unpacked((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert scene["views"] == views.split(",")
    fields = {field["key"]: field for field in scene["fields"]}
    index = arrays["index"].astype(np.int64)
    for kind in ("entry", "entropy"):
        shown = arrays[fields[f"encoder.1/{kind}"]["column"]]
        np.testing.assert_array_equal(shown, getattr(choices["encoder.1"], kind)[index])
    few = cloud.select(np.arange(20))
    write_choices(labels, "room_a", some_choices(few), overwrite=True)
    assert main([*arguments, "--overwrite"]) == 2
    error = capsys.readouterr().err
    assert "room_a.choices.npz: encoder.1: 20 rows, but the scene has 8,506 points" in error


def test_command_reads_txt_labels_as_raw_ids(tmp_path: Path) -> None:
    path = save_cloud(tmp_path)
    points = room().num_points
    (tmp_path / "room_a.txt").write_text("\n".join(["14"] * points) + "\n")  # nyu40: desk
    labels = tmp_path / "labels"
    labels.mkdir()
    (tmp_path / "room_a.txt").rename(labels / "room_a.txt")
    assert main([str(path), "--preds", str(labels), "--out", str(tmp_path / "p.html")]) == 0
    scene, _ = unpacked((tmp_path / "p.html").read_text(encoding="utf-8"))
    prediction = next(field for field in scene["fields"] if field["key"] == "prediction")
    counts = {c["name"]: c["count"] for c in prediction["categories"] if c["count"]}
    assert counts == {"desk": points}


@pytest.mark.parametrize(
    ("dataset", "raw_ids", "train_ids"),
    [("scannet", [1, 39, 40], [0, 19, -1]), ("semantickitti", [10, 40, 1], [0, 8, -1])],
)
def test_labels_of_a_file_are_of_the_named_dataset(
    tmp_path: Path, dataset: str, raw_ids: list[int], train_ids: list[int]
) -> None:
    np.save(tmp_path / "three.npy", np.eye(3, dtype=np.float32))
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "three.txt").write_text("".join(f"{value}\n" for value in raw_ids))
    page = tmp_path / "page.html"
    argv = [str(tmp_path / "three.npy"), "--preds", str(labels), "--out", str(page)]
    assert main([*argv, "--dataset", dataset]) == 0
    scene, arrays = unpacked(page.read_text(encoding="utf-8"))
    (field,) = (f for f in scene["fields"] if f["key"] == "prediction")
    names = find_spec(dataset).label_map.names
    assert [c["name"] for c in field["categories"]][: len(names)] == list(names)
    assert arrays[field["column"]].tolist() == [
        len(names) if value < 0 else value for value in train_ids
    ]


def test_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(save_cloud(tmp_path))
    page = str(tmp_path / "p.html")
    np.save(tmp_path / "short.npy", np.zeros(3))
    labels = tmp_path / "labels"
    labels.mkdir()
    np.save(labels / "room_a.npy", np.zeros(3, np.int16))
    for arguments, problem in (
        ([path], "pass --out"),
        ([path, "--out", page, "--preds", str(tmp_path / "none")], "no labels of room_a"),
        ([path, "--out", page, "--preds", str(labels)], "3 labels, but room_a has"),
        ([path, "--out", page, "--array", "a"], "expected NAME=FILE"),
        ([path, "--out", page, "--array", f"a={tmp_path}/short.npy"], "array 'a'"),
        ([path, "--out", page, "--scene", "x"], "either files, or"),
        ([path, path, "--out", page], "one stem"),
        (["--root", str(tmp_path), "--scene", "x", "--out", page], "neither raw scenes"),
    ):
        assert main(arguments) == 2, arguments
        assert problem in capsys.readouterr().err
    assert not Path(page).exists()


def test_command_draws_a_real_scene(tmp_path: Path, real_data: Path) -> None:
    arguments = ["--root", str(real_data / "scannet"), "--scene", "scene0000_00"]
    assert main([*arguments, "--out", str(tmp_path / "p.html"), "--max-points", "20000"]) == 0
    scene, _ = unpacked((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert scene["numPoints"] == 81369
    assert {field["key"] for field in scene["fields"]} >= {"rgb", "label", "height", "instance"}


def test_labels_wider_than_16_bits_never_become_a_class(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.array([0, 65536, 70000, -5, 1]))
    assert read_predictions(path, LABEL_MAP).tolist() == [0, -1, -1, -1, 1]
