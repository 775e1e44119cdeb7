"""Where checkpoints lie: files of the user, and the weights that are shipped."""

import sys
from pathlib import Path

from s3dis_seg.files import InputError

DEFAULT_CHECKPOINT = "resgcn14-s3dis-area6"


def find_checkpoint(name):
    """Where a checkpoint lies. -> Path

    name: a path, or the name of shipped weights (with or without .pt), found in the folder `checkpoints` of a clone
    or in `share/s3dis_seg/checkpoints` of the Python environment. InputError when there is none.
    """
    if Path(name).is_file():
        return Path(name)
    if Path(name).is_dir():
        raise InputError(f"{name} is a folder; name a checkpoint file, such as {Path(name) / 'best.pt'}")
    for folder in _shipped_folders():
        for file in (folder / name, folder / f"{name}.pt"):
            if file.is_file():
                return file
    shipped = sorted({file.stem for folder in _shipped_folders() for file in folder.glob("*.pt")})
    known = f"shipped weights: {', '.join(shipped)}" if shipped else "no weights are shipped here"
    raise InputError(f"there is no checkpoint {name}; name a file ({known})")


def _shipped_folders():
    clone = Path(__file__).resolve().parents[2]
    return clone / "checkpoints", Path(sys.prefix) / "share" / "s3dis_seg" / "checkpoints"
