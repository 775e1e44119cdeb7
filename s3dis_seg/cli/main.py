"""The command `s3dis-seg`: it runs a sub-command, prints its errors and sets the exit code."""

import argparse
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module

from s3dis_seg import __version__
from s3dis_seg.cli.streams import Surviving
from s3dis_seg.files import InputError

COMMANDS = {
    "prepare": "turn S3DIS, as released or in a form made from it, into one HDF5 file a room",
    "train": "train a DeepGCN on prepared rooms",
    "segment": "label every point of a scan or a room",
    "evaluate": "score a checkpoint on rooms: IoU, accuracies and confusion, by room, area and fold",
    "calibrate": "measure how far confidences can be trusted, and make them honest",
    "score": "compare the predictions of a segmented scan with its labels",
    "report": "one HTML page of a segmented scan, to show to somebody who has nothing installed",
    "review": "correct a segmented scan where the network is least sure, for the network to learn from",
    "export": "write single classes of a segmented scan to files of their own",
    "view": "show a scan in a window, or save a picture of it",
    "benchmark": "time and memory of the graph engine beside the authors' operations",
    "depth": "compare networks of growing depth: gradients, smoothing and rank, layer by layer",
    "demo": "prepare, train, segment, score and show in three minutes, on synthetic rooms",
}


class _OneSentence(argparse.ArgumentParser):
    """argparse, with errors in one sentence that names --help instead of printing the usage."""

    def error(self, message):
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser(chosen):
    """The parser of all commands; only the module of the chosen one is imported, so that --help stays quick."""
    parser = _OneSentence(
        prog="s3dis-seg",
        description="Semantic segmentation of point clouds with deep graph networks (DeepGCNs).",
        epilog="Example: s3dis-seg segment scan.ply --out segmented.ply",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"s3dis-seg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name != chosen:
            commands.add_parser(name, help=summary, add_help=False)
            continue
        module = import_module(f"s3dis_seg.cli.{name}")
        description, _, examples = module.__doc__.partition("Examples:")
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            epilog="examples:" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, refuse=command.error)
    return parser


def parse(argv):
    """The words of a command line -> its arguments; `arguments.run(arguments)` runs the command.

    arguments.started: time.perf_counter() at the beginning, for commands that print how long they took.
    """
    started = time.perf_counter()
    chosen = next((word for word in argv if word in COMMANDS), None)
    arguments, unknown = _parser(chosen).parse_known_args(argv)
    if unknown:
        # argparse would name the help of s3dis-seg, which does not list the options of the command.
        arguments.refuse(f"unknown: {' '.join(unknown)}")
    del arguments.refuse
    arguments.started = started
    return arguments


def main(argv=None):
    """Run a command line such as ["train", "--help"].

    -> exit code: 0; 1 where the work was done but standard output could not be written; 2 for bad input; 130 after
    Ctrl-C.
    """
    output, errors = Surviving(sys.stdout), Surviving(sys.stderr)
    with redirect_stdout(output), redirect_stderr(errors):
        code = _run(sys.argv[1:] if argv is None else list(argv))
        output.flush()
        if output.lost:
            print(f"error: standard output ended early ({output.lost}); the work went on without it", file=sys.stderr)
        errors.flush()
    return 1 if output.lost and code == 0 else code


def _run(argv):
    try:
        arguments = parse(argv)
        arguments.run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        # Such as a name of more than 255 bytes, which fails wherever a path is first looked at.
        print(f"error: cannot use {error.filename}: {error.strerror}; check the name and its permissions",
              file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
