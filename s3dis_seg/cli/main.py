"""The command `s3dis-seg`: finds the sub-command, prints its errors in one sentence, sets the exit code."""

import argparse
import sys
from importlib import import_module

from s3dis_seg.files import InputError

COMMANDS = {
    "prepare": "raw S3DIS (or a folder people already have) -> one HDF5 file a room",
    "train": "train a DeepGCN on prepared rooms",
    "segment": "label every point of a scan or a room",
    "evaluate": "score a checkpoint on rooms: IoU, accuracies and confusion, by room, area and fold",
    "score": "score a segmented scan against the labels it brings along",
    "view": "look at a scan in Open3D, or save a picture of it",
    "benchmark": "time and memory of the graph engine beside the authors' operations",
    "demo": "everything above in three minutes, on rooms made from a seed",
}


class _OneSentence(argparse.ArgumentParser):
    """argparse, with errors that name the way to help instead of printing the usage."""

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
        command.set_defaults(run=module.run)
    return parser


def parse(argv):
    """The words of a command line -> its arguments; `arguments.run(arguments)` runs the command."""
    chosen = next((word for word in argv if word in COMMANDS), None)
    arguments, unknown = _parser(chosen).parse_known_args(argv)
    if unknown:
        _OneSentence(prog=f"s3dis-seg {arguments.command}").error(f"there is no option {' '.join(unknown)}")
    return arguments


def main(argv=None):
    """Run a command line such as ["train", "--help"]. -> exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else list(argv))
        arguments.run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error.
        sys.stderr.close()
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
