import subprocess
import sys

import numpy as np
import pytest

from s3dis_seg.classes import COLORS
from s3dis_seg.cli.main import main
from s3dis_seg.data.rooms.prepared import write_room
from s3dis_seg.data.rooms.room import room_of
from s3dis_seg.data.scans import Scan, read_scan, write_scan
from s3dis_seg.view.cameras import View, write_views


@pytest.fixture
def segmented(tmp_path):
    """A floor with two chairs of points above it, segmented; its labels are called `truth_of_hand`."""
    xyz = np.random.default_rng(0).random((400, 3)) * (2, 1, 0.01)
    xyz[:20, 2] += 0.5
    predictions = np.where(xyz[:, 2] > 0.2, 8, 1).astype(np.uint8)
    scan = Scan(xyz, predictions=predictions, confidence=np.full(400, 0.8, np.float32))
    scan.columns = {axis: xyz[:, place] for place, axis in enumerate("xyz")}
    scan.columns["truth_of_hand"] = np.ones(400, np.int32)
    write_scan(tmp_path / "out.ply", scan)
    return tmp_path / "out.ply"


def read(path):
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).round().astype(np.uint8)


def exit_code(words):
    """What the shell would get; argparse exits by itself where a word cannot be parsed."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code


def has(picture, color):
    return (picture == color).all(axis=-1).any()


def test_the_prediction_is_saved_without_a_screen(segmented, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    picture = tmp_path / "picture.png"
    assert main(["view", str(segmented), "--save", str(picture), "--size", "300", "200"]) == 0
    assert has(read(picture), COLORS[1])
    assert has(read(picture), COLORS[8])
    assert f"written: {picture}" in capsys.readouterr().out


def test_several_colourings_are_saved_side_by_side(segmented, tmp_path):
    words = ["--color", "scan", "truth", "errors", "--label-field", "truth_of_hand", "--size", "300", "200"]
    one, three = tmp_path / "one.png", tmp_path / "three.png"
    assert main(["view", str(segmented), "--save", str(one), "--color", "scan", "--size", "300", "200"]) == 0
    assert main(["view", str(segmented), "--save", str(three), *words]) == 0
    assert read(three).shape[1] == 3 * read(one).shape[1]


def test_a_slice_is_saved(segmented, tmp_path):
    picture = tmp_path / "picture.png"
    words = ["--size", "300", "200", "--slice", "0.3", "1"]
    assert main(["view", str(segmented), "--save", str(picture), *words]) == 0
    assert has(read(picture), COLORS[8])
    assert not has(read(picture), COLORS[1])


def test_a_video_of_two_scans_is_written_without_a_screen(segmented, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.delenv("DISPLAY", raising=False)
    video = tmp_path / "turn.gif"
    words = ["--video", str(video), "--size", "700", "300", "--seconds", "0.4"]
    assert main(["view", str(segmented), str(segmented), *words]) == 0
    assert "6 pictures, 0.4 s" in capsys.readouterr().out
    with Image.open(video) as frames:
        assert (frames.n_frames, frames.size) == (6, (700, 300))
        frames.seek(3)
        picture = np.array(frames.convert("RGB"))
    for half in (picture[30:, 290:495], picture[30:, 496:]):
        assert has(half, COLORS[1])
        assert has(half, COLORS[8])


def test_a_video_goes_through_kept_views(segmented, tmp_path):
    from PIL import Image

    views = [View((1, 0.5, 0), 0.0, 60.0, 3.0), View((1, 0.5, 0), 90.0, 60.0, 30.0)]
    write_views(tmp_path / "views.json", views)
    words = ["--video", str(tmp_path / "way.gif"), "--views", str(tmp_path / "views.json")]
    assert main(["view", str(segmented), *words, "--size", "400", "300", "--seconds", "0.2"]) == 0
    sizes = []
    with Image.open(tmp_path / "way.gif") as frames:
        for number in range(frames.n_frames):
            frames.seek(number)
            sizes.append((np.array(frames.convert("RGB"))[30:] != 255).any(axis=-1).sum())
    assert len(sizes) == 3
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_label_field_whose_numbers_may_mean_other_classes_is_told(segmented, tmp_path, capsys):
    words = ["--save", str(tmp_path / "picture.png"), "--size", "300", "200", "--label-field", "truth_of_hand"]
    assert main(["view", str(segmented), *words]) == 0
    assert capsys.readouterr().out.count("label 1 is taken as floor; if these numbers mean other classes") == 1


def test_the_ceiling_of_a_room_is_cut_away_and_this_is_told(tmp_path, capsys):
    xyz = np.random.default_rng(0).random((300, 3)) * (2, 1, 0)
    xyz[:100, 2] = 2.5
    path = write_room(room_of("Area_1_x_1", xyz, np.zeros((300, 3)), np.repeat([0, 1], [100, 200])), tmp_path)
    picture = tmp_path / "picture.png"
    assert main(["view", str(path), "--save", str(picture), "--size", "300", "200"]) == 0
    assert "not shown: 100 points labelled ceiling" in capsys.readouterr().out
    assert not has(read(picture), COLORS[0])
    assert main(["view", str(path), "--save", str(picture), "--size", "300", "200", "--ceiling"]) == 0
    assert "not shown" not in capsys.readouterr().out
    assert has(read(picture), COLORS[0])


@pytest.mark.parametrize(
    "words, said",
    [
        (["--zoom", "2"], "--zoom: only with --save"),
        (["--color", "scan", "truth", "errors"], "more than two colourings after --color: only with --save"),
        (["--seconds", "3"], "--seconds: only with --video"),
        (["--size", "30", "30"], "--size: only with --save or --video"),
        (["--video", "v.gif", "--save", "p.png"], "one of them at a time"),
        (["--video", "v.avi"], "name a .gif or .mp4 file"),
        (["--video", "v.gif", "--views", "none.json"], "cannot read none.json"),
        (["none.ply", "--save", "p.png"], "only of one scan"),
        (["--slice", "2", "1"], "the lower end comes first"),
        (["--slice", "0", "high"], "'high' is not a number of metres"),
        (["--slice", "50", "51", "--save", "p.png"], "no point from 50 to 51 m above its floor"),
        (["--color", "truth", "--save", "p.png"], "--label-field"),
        (["--label-field", "nothing", "--save", "p.png"], "has no property 'nothing'"),
        (["--save", "p.jpg"], "name a .png file"),
        (["--save", "p.png", "--size", "foo", "10"], "'foo' is not a whole number of pixels from 1 to 20000"),
        (["--save", "p.png", "--size", "10", "-1"], "'-1' is not a whole number of pixels from 1 to 20000"),
        (["--save", "p.png", "--azimuth", "north"], "'north' is not a number of degrees"),
        (["--save", "p.png", "--elevation", "nan"], "'nan' is not a number of degrees"),
        (["--save", "p.png", "--color", "blue"], "invalid choice: 'blue'"),
        ([], "add --save picture.png, or make a page with `s3dis-seg report`"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(segmented, monkeypatch, capsys, words, said):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert exit_code(["view", str(segmented), *words]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.strip().splitlines()) == 1


def test_a_scan_without_colours_is_drawn_grey_and_this_is_told(tmp_path, capsys):
    write_scan(tmp_path / "plain.ply", Scan(np.random.default_rng(0).random((300, 3))))
    picture = tmp_path / "picture.png"
    assert main(["view", str(tmp_path / "plain.ply"), "--save", str(picture), "--size", "300", "200"]) == 0
    assert "has no colours of its own; its points are drawn grey" in capsys.readouterr().out
    assert has(read(picture), (128, 128, 128))


def test_errors_of_a_scan_whose_points_are_all_unlabelled_make_no_warning(segmented, tmp_path, capsys):
    words = ["--color", "truth", "errors", "--label-field", "unlabelled", "--size", "300", "200"]
    scan = read_scan(segmented)
    scan.columns["unlabelled"] = np.full(400, -1, np.int32)
    write_scan(tmp_path / "unlabelled.ply", scan)
    assert main(["view", str(tmp_path / "unlabelled.ply"), "--save", str(tmp_path / "p.png"), *words]) == 0
    assert "written" in capsys.readouterr().out


def test_help_imports_nothing_that_takes_long(capsys):
    script = (
        "import sys; from s3dis_seg.cli.main import main\n"
        "try: main(['view', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'h5py', 'matplotlib', 'open3d'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
