"""Lines through measured points, their tables and pictures, and the suite through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointseg.benchmark import pictures
from pointseg.benchmark.scaling import Point, fit_line, fit_table, fits
from pointseg.benchmark.suites import scaling
from pointseg.cli import benchmark

SIZES = (10_000, 100_000, 1_000_000)


def made_up(threads: int = 1, engine: str = "ours") -> list[Point]:
    """5 ms and 200 ns a voxel; 1 MiB and 64 bytes a voxel."""
    return [Point("conv", engine, threads, n, 5 + 200e-6 * n, 1 + 64 * n / 2**20) for n in SIZES]


def test_lines_are_found_again() -> None:
    time, memory = fits(made_up())
    assert (time.quantity, memory.quantity) == ("time", "memory")
    assert (time.offset, time.slope) == pytest.approx((5, 200))
    assert (memory.offset, memory.slope) == pytest.approx((1, 64))
    assert time.deviation < 1e-9 and memory.deviation < 1e-9
    assert "| conv | ours | 1 | time | 5.000 ms | 200 ns/voxel | 0 % |" in fit_table([time])


def test_what_is_not_linear_deviates() -> None:
    _, _, deviation = fit_line(SIZES, [1e-9 * n**2 for n in SIZES])
    assert deviation > 0.5
    offset, slope, deviation = fit_line([1, 2, 4], [1.0, 2.0, 4.4])
    assert 0.02 < deviation < 0.1
    assert offset + slope * 4 < 4.4


def test_every_size_counts_alike() -> None:
    """Ten per cent off at the smallest size is seen, which absolute residuals would hide."""
    values = [1.1e-3 * SIZES[0], 1e-3 * SIZES[1], 1e-3 * SIZES[2]]
    offset, slope, _ = fit_line(SIZES, values)
    assert offset + slope * SIZES[0] == pytest.approx(values[0], rel=0.01)


def test_one_size_is_no_line() -> None:
    assert list(fits(made_up()[:1])) == []
    with pytest.raises(ValueError, match="sizes: expected two different ones"):
        fit_line([5, 5], [1.0, 1.0])


def test_a_picture_has_a_panel_a_case_and_a_curve_an_engine() -> None:
    points = made_up() + made_up(2) + made_up(2, "plain_torch")
    points += [Point("voxelize", "ours", 2, n, 1.0, 1.0) for n in SIZES]
    time = pictures.figure(points, "time", "machine")
    assert len(time.data) == 4
    assert [note.text for note in time.layout.annotations] == ["conv", "voxelize"]
    assert time.layout.xaxis.type == time.layout.yaxis2.type == "log"
    assert (time.layout.xaxis.title.text, time.layout.xaxis2.title.text) == ("voxels", "points")
    legend = [trace.name for trace in time.data if trace.showlegend]
    assert legend == ["ours, 1 thread", "ours, 2 threads", "plain torch, 2 threads"]
    assert len(pictures.figure(points, "memory", "machine").data) == 3  # with all threads only


def test_the_command_writes_everything_and_tells_of_missing_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_browser(*args: object, **options: object) -> Path:
        raise FileNotFoundError("screenshots need a browser")

    monkeypatch.setattr(pictures, "write_screenshot", no_browser)
    monkeypatch.setattr(scaling, "QUICK_SIZES", (500, 1500))
    monkeypatch.setattr("pointseg.benchmark.timing.COPY_BYTES", 2**20)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    argv = ["scaling", "--quick", "--threads", "2", "--out", str(tmp_path / "new")]
    assert benchmark.main(argv) == 0
    document = json.loads((tmp_path / "new/scaling.json").read_text())
    assert {point["case"] for point in document["points"]} == set(scaling.MAKERS)
    assert len(document["points"]) == 6 * 2 * 2 * 2  # cases, sizes, engines, threads
    assert len(document["fits"]) == 6 * 2 * 2 * 2  # cases, engines, threads, quantities
    assert document["header"]["scenes"]["hall_1500"]["voxels"] == pytest.approx(1500, rel=1e-2)
    sizes = [p["size"] for p in document["points"] if p["case"] == "kernel_map_k3"]
    assert sizes == pytest.approx([500] * 4 + [1500] * 4, rel=1e-2)
    assert "ns/voxel" in (tmp_path / "new/scaling.md").read_text()
    for name in ("time", "memory"):
        assert "Plotly.newPlot" in (tmp_path / f"new/{name}.html").read_text()
    assert "no PNG: screenshots need a browser" in capsys.readouterr().out


@pytest.mark.browser
def test_pictures_are_taken_where_there_is_a_browser(tmp_path: Path) -> None:
    written, problem = pictures.write_pictures(made_up(), tmp_path, "machine")
    assert problem is None
    assert [path.name for path in written] == ["time.html", "time.png", "memory.html", "memory.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["scaling"], "--out: expected the folder"),
        (["scaling", "--out", "x", "--json", "y"], "--json: the suite scaling writes to --out"),
        (["ops", "--out", "x"], "--out: the suite ops writes to --json and --markdown"),
        (["ops", "--threads", "0"], "--threads: expected at least 1, got 0"),
        (["scaling", "--out", "x", "--quick", "--only", "nothing"], "--only: no case"),
    ],
)
def test_command_lines_that_make_no_sense_are_refused(
    argv: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("pointseg.benchmark.timing.COPY_BYTES", 2**20)
    monkeypatch.setattr(scaling, "QUICK_SIZES", (500,))
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(argv) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
