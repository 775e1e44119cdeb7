"""Shared by all parts that read or write files: the error for bad input, and files that are never left half written."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, and what to do about it.

    The command line prints the message and ends with exit code 2.
    """


@contextmanager
def replacing(path):
    """Write a file as a whole: yields a temporary path beside `path`, which is renamed to `path` on success.

    On failure the temporary file is removed, and `path` stays as it was. The temporary name has the suffix of `path`,
    because some writers choose the format by it. Missing parent folders are made. InputError where the disk is full,
    the folder is not writable or `path` is a folder.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file to write")
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        # mkstemp makes files that only their owner can read; give this one the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}; free space or name another place") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
