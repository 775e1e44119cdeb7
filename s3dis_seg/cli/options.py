"""What the options of several commands share."""

import argparse
import math


def number(kind, least, above=False):
    """A type for argparse. kind: int or float; least: the smallest value, or with `above` one that is too small."""

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (value > least if above else value >= least) or value == math.inf:
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun} {'above' if above else 'of at least'} {least}")
        return value

    return parse
