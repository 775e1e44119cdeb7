"""Rows of a scan that are made when they are asked for, so that a scan of any size can be read a part at a time."""

import numpy as np

_AT_ONCE = 500_000


class Lazy:
    """Like an array, but only the rows that are asked for are made: `lazy[start:stop]` is `make(slice(start, stop))`.

    shape, dtype: of the whole array. np.asarray makes all of it. origin: what the rows are, unread, or None.
    """

    def __init__(self, make, shape, dtype, origin=None):
        self.make, self.shape, self.dtype, self.origin = make, shape, np.dtype(dtype), origin

    @property
    def ndim(self):
        return len(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, part):
        return self.make(part) if isinstance(part, slice) else np.asarray(self)[part]

    def __array__(self, dtype=None, copy=None):
        whole = np.empty(self.shape, dtype or self.dtype)
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(self)))
            whole[part] = self.make(part)
        return whole


def lazy_rows(columns):
    """Columns side by side. d columns of one type, (P,) each -> Lazy (P, d)"""
    kind = np.result_type(*(column.dtype for column in columns))

    def make(part):
        return np.stack([column[part] for column in columns], axis=1)

    return Lazy(make, (len(columns[0]), len(columns)), kind)
