"""Where the large arrays of a scan are: in memory, or in files of a folder, of which only what is used is in memory."""

import mmap
import os
from pathlib import Path

import numpy as np

from s3dis_seg.files import InputError


class InMemory:
    """Arrays in memory. The methods are those of `InFolder`."""

    def new(self, name, shape, dtype):
        return np.empty(shape, dtype)

    def shortened(self, name, array, count):
        return array[:count].copy()

    def drop(self, name):
        pass

    def release(self):
        pass

    def flush(self):
        pass


class InFolder:
    """Arrays by name, each a file of plain numbers in a folder."""

    def __init__(self, folder):
        self.folder, self._maps = Path(folder), {}

    def new(self, name, shape, dtype):
        """An array of any content. InputError where the disk is full."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            with open(self._path(name), "wb") as file:
                # A mapped file that outgrows the disk would end the process, so its place is taken now.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
        except OSError as error:
            raise InputError(
                f"cannot write {self._path(name)}: {error.strerror}; free space or name another --out"
            ) from error
        return self.opened(name, shape, dtype)

    def opened(self, name, shape, dtype):
        """The array that `new` made, in an earlier process perhaps."""
        self._maps[name] = np.memmap(self._path(name), dtype, "r+", shape=shape)
        return np.asarray(self._maps[name])

    def shortened(self, name, array, count):
        """The first `count` rows; the file gets as short."""
        del self._maps[name]
        os.truncate(self._path(name), array[:1].nbytes * count)
        return self.opened(name, (count, *array.shape[1:]), array.dtype)

    def drop(self, name):
        """Remove an array."""
        del self._maps[name]
        self._path(name).unlink()

    def release(self):
        """Take what was used of the files out of memory; it comes back when it is used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps.values():
                mapped._mmap.madvise(mmap.MADV_DONTNEED)

    def flush(self):
        """Wait until everything is on the disk."""
        for mapped in self._maps.values():
            mapped.flush()

    def _path(self, name):
        return self.folder / f"{name}.raw"
