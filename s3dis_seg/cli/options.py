"""Options that several commands share, and checks of their values."""

import argparse
import math
import tempfile

from s3dis_seg.files import InputError
from s3dis_seg.training.config import LARGEST_SEED


def number(kind, least, above=False, most=math.inf):
    """A type for argparse. kind: int or float; least: the smallest value that is allowed; with `above`, values
    must be larger; most: the largest one."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (value > least if above else value >= least) or value == math.inf or value > most:
            noun = "an integer" if kind is int else "a number"
            limits = f"{'above' if above else 'of at least'} {least}" + (
                f" and at most {most}" if most < math.inf else ""
            )
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun} {limits}")
        return value

    return parse


def seed(text):
    """A type for argparse: what starts a sequence of random numbers."""
    value = number(int, 0)(text)
    if value > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {LARGEST_SEED}, the largest seed")
    return value


def add_classes_argument(parser):
    """Add the flag that says what the class numbers in a scan mean."""
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="what the class numbers mean: a class file, a checkpoint or a prepared room (default: what the scan "
        "itself says, else the classes of S3DIS)",
    )


def classes_of(arguments):
    """The classes that --classes names. -> Classes or None"""
    named = arguments.classes
    if named is None:
        return None
    if named.lower().endswith(".h5"):
        from s3dis_seg.data.rooms.prepared import RoomFile

        return RoomFile(named).classes
    from s3dis_seg.data.class_file import read_class_file
    from s3dis_seg.models.shipped import shipped_names

    if named.lower().endswith((".pt", ".pth")) or named.removesuffix(".pt") in shipped_names():
        from s3dis_seg.models.checkpoint import load_checkpoint

        return load_checkpoint(named)[1].classes
    return read_class_file(named)


def add_network_arguments(parser):
    """Add the flags that describe the network of a checkpoint in the official layout."""
    from s3dis_seg.models.config import MODELS

    model = parser.add_argument_group(
        "only for checkpoints in the official layout, which do not describe their network"
    )
    model.add_argument("--model", choices=MODELS, help="a named network, which the flags below change")
    model.add_argument(
        "--blocks", metavar="N", type=number(int, 1), help="depth: number of graph convolutions, the head included"
    )
    model.add_argument("--channels", metavar="C", type=number(int, 1), help="channels of every graph convolution")
    model.add_argument("--k", metavar="K", type=number(int, 1), help="neighbours of a point, itself included")


def network_of(arguments):
    """The values of these flags. -> name or None, dict of overrides"""
    names = ("blocks", "channels", "k")
    overrides = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if overrides and not arguments.model:
        flags = ", ".join(f"--{name}" for name in overrides)
        raise InputError(f"{flags}: only together with --model, for checkpoints in the official layout")
    return arguments.model, overrides


def require_writable(folder):
    """Make a folder for results. InputError where it cannot be written, so that this is told before the work begins."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; name another folder") from error
