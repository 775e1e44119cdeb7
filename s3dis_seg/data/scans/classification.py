"""Codes for the field `classification` of LAS files: those of the user where the classes have them, else our own.

The standard reserves 64 to 255 for users; its record "Classification Lookup" gives codes names of up to 15 bytes.
"""

import numpy as np

from s3dis_seg.classes import UNLABELLED, range_of
from s3dis_seg.files import InputError

SUFFIXES = (".las", ".laz")
_FIRST, _LAST = 64, 255  # codes that the standard leaves to users
_WITHOUT_CLASS = (1, 0, *range(_LAST, 1, -1))  # 1 is "unclassified", 0 "never classified"
_LONGEST = 15  # bytes of a name in the lookup record


def codes_of(classes):
    """The code of every class number. -> (256,) uint8; all numbers beyond the classes have the code of unlabelled

    A class has the first code from 0 to 255 among its values, where they are the user's own and not just class numbers;
    otherwise the next free one from 64. InputError where these do not suffice.
    """
    own = classes != classes.numbered()
    codes = [_first_code(values) if own else None for values in classes.values]
    free = iter([code for code in range(_FIRST, _LAST + 1) if code not in codes])
    codes = [next(free, None) if code is None else code for code in codes]
    if None in codes:
        raise InputError(
            f"{len(classes)} classes need more codes than the {_LAST + 1 - _FIRST} that LAS leaves to users; leave out "
            "--write-classification, or give the classes values from 0 to 255"
        )
    ignored = _first_code(classes.ignored) if own else None
    rest = next(code for code in _WITHOUT_CLASS if code not in codes) if ignored is None else ignored
    table = np.full(UNLABELLED + 1, rest, np.uint8)
    table[: len(codes)] = codes
    return table


def _first_code(values):
    """The first whole number from 0 to 255 that the values of a class mean, None where there is none."""
    ends = [ends for ends in map(range_of, values) if ends is not None]
    return next((max(low, 0) for low, high in ends if low <= _LAST and high >= 0), None)


def names_of_codes(classes):
    """What the lookup record says: dict code -> name, in ASCII and of up to 15 letters."""
    return {int(code): _short(name) for code, name in zip(codes_of(classes), classes.names)}


def _short(name):
    return name.encode("ascii", "replace").decode()[:_LONGEST]


def notes_on_codes(classes):
    """Which codes are written, and which names are shortened. -> list of sentences"""
    table = codes_of(classes)
    listed = ", ".join(f"{code} {name}" for code, name in zip(table, classes.names))
    notes = [f"the field classification holds {listed}, and {table[UNLABELLED]} where there is no prediction"]
    changed = [f"{name} is {_short(name)}" for name in classes.names if _short(name) != name]
    if changed:
        notes.append(f"LAS gives a name of a code {_LONGEST} ASCII letters: {', '.join(changed)} there")
    return notes
