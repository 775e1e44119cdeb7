"""Where checkpoints lie: files of the user, and the weights shipped with the package."""

from importlib.resources import files
from pathlib import Path

from s3dis_seg.files import InputError

DEFAULT_CHECKPOINT = "resgcn14-s3dis-area6-lovasz"


def find_checkpoint(name):
    """The file of a checkpoint. -> Path

    name: a path, or the name of shipped weights with or without .pt. InputError where there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if Path(name).is_dir():
        raise InputError(f"{name} is a folder; name a checkpoint file, such as {Path(name) / 'best.pt'}")
    folder = _shipped_folder()
    for file in (folder / name, folder / f"{name}.pt"):
        if file.is_file():
            return file
    shipped = ", ".join(shipped_names())
    known = f"shipped weights: {shipped}" if shipped else "no weights are shipped here"
    raise InputError(f"there is no checkpoint {name}; name a file ({known})")


def shipped_names():
    """The names of the weights that come along. -> list of texts"""
    return sorted(file.stem for file in _shipped_folder().glob("*.pt"))


def _shipped_folder():
    """The folder of shipped weights: inside an installed package; beside it in a clone or an editable install."""
    package = Path(str(files("s3dis_seg")))
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"
