"""Pictures one after the other, as a GIF or an MP4 file. Letters: H and W rows and columns of a picture."""

import contextlib
import shutil
import subprocess

from s3dis_seg.files import InputError, replacing

RATE = 15  # pictures a second


def check_video(path):
    """InputError where a video of this name cannot be written here."""
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise InputError(f"cannot write a video as {path}; name a .gif or .mp4 file")
    if ending == ".mp4" and shutil.which("ffmpeg") is None:
        raise InputError(f"cannot write {path}: MP4 needs the program ffmpeg; install it, or name a .gif file")


def write_video(path, pictures):
    """Write (H, W, 3) uint8 pictures, all of one size, at 15 a second; the file appears whole or not at all.

    path: ends with .gif (256 colours a picture, repeats for ever) or .mp4 (written by ffmpeg).
    """
    check_video(path)
    with replacing(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, pictures)


def _write_gif(path, pictures):
    from PIL import Image

    # The colours of a picture are chosen for it alone; few colours, such as those of classes, stay exactly as they are.
    frames = [Image.fromarray(picture).quantize(256, Image.Quantize.MEDIANCUT, dither=0) for picture in pictures]
    # GIF counts in hundredths of a second.
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(100 / RATE) * 10, loop=0)


def _write_mp4(path, pictures):
    process = None
    for picture in pictures:
        if process is None:
            height, width = picture.shape[:2]
            process = subprocess.Popen(
                ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
                 "-r", str(RATE), "-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(path)],
                stdin=subprocess.PIPE,
            )  # fmt: skip
        try:
            process.stdin.write(picture.tobytes())
        except BrokenPipeError:  # ffmpeg has ended, and has said why
            break
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    if process.wait() != 0:
        raise InputError("ffmpeg failed to write the video, see above; try a .gif file")


_WRITERS = {".gif": _write_gif, ".mp4": _write_mp4}
