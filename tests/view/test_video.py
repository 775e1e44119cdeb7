import os
import stat

import numpy as np
import pytest

from s3dis_seg.files import InputError
from s3dis_seg.view.video import write_video


def pictures(count=6):
    """A red square that walks over white. -> list of (20, 31, 3) uint8"""
    walk = []
    for number in range(count):
        picture = np.full((20, 31, 3), 255, np.uint8)
        picture[5:10, 3 * number : 3 * number + 5] = (255, 0, 0)
        walk.append(picture)
    return walk


def test_a_gif_has_every_picture_in_its_colours_and_repeats(tmp_path):
    from PIL import Image

    write_video(tmp_path / "a.gif", iter(pictures()))
    with Image.open(tmp_path / "a.gif") as video:
        assert video.n_frames == 6
        assert video.info["loop"] == 0
        assert video.info["duration"] == 70
        for number, picture in enumerate(pictures()):
            video.seek(number)
            assert (np.array(video.convert("RGB")) == picture).all()


def test_mp4_goes_through_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"needs the program ffmpeg; install it, or name a \.gif"):
        write_video(tmp_path / "a.mp4", pictures())
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/cat > "$last"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    write_video(tmp_path / "a.mp4", pictures())
    assert (tmp_path / "a.mp4").stat().st_size == 6 * 20 * 31 * 3
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(InputError, match="ffmpeg failed"):
        write_video(tmp_path / "b.mp4", pictures())
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "ffmpeg"]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"name a \.gif or \.mp4 file"):
        write_video(tmp_path / "a.avi", pictures())
