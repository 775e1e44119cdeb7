"""Shared by all parts that read or write files: the error for bad input, names of files, and files that are never left
half written.
"""

import errno
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, and what to do about it.

    The command line prints the message and ends with exit code 2.
    """


_LONGEST_NAME = 100


def safe_name(text, otherwise):
    """A text as a part of the name of a file: letters, digits and . _ - only, `otherwise` where none is left."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_.-")[:_LONGEST_NAME] or otherwise


def numbered_names(names):
    """The same names, with a number behind those that are there already, whatever the capitals. -> list"""
    result = []
    for name in names:
        number, new = 2, name
        while new.lower() in (taken.lower() for taken in result):
            new, number = f"{name}_{number}", number + 1
        result.append(new)
    return result


@contextmanager
def replacing(path):
    """Write a file as a whole: yields a temporary path beside `path`, which is renamed to `path` on success.

    On failure the temporary file is removed, and `path` stays as it was. The temporary name has the suffix of `path`,
    because some writers choose the format by it. Missing parent folders are made. InputError where the disk is full,
    the folder is not writable or `path` is a folder.
    """
    path = Path(os.path.realpath(path))  # a link stays a link, and what it points to is replaced
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file to write")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a pipe or a device, which cannot be replaced; name a file to write")
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


@contextmanager
def locked(folder):
    """Within it no other process may take the same folder. The folder is made where it is missing.

    InputError when another process has it, or when nothing can be written there. The system gives the lock up when the
    process ends, however it ends; the empty file `.lock` stays.
    """
    path = Path(folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a")  # noqa: SIM115 - closed below, where its errors are not those of opening
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; free space or name another place") from error
    with file:
        if not _take(file):
            raise InputError(
                f"another process is writing into {folder}; wait until it has ended, or name another --out"
            )
        yield


def _take(file):
    """Lock an open file. -> whether that worked; True also where the system or the file system has no locks"""
    try:
        # A record lock, which forked workers do not inherit: they would keep it for a while after a kill -9.
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def remove_unfinished(folder):
    """Remove what `replacing` leaves in `folder` when its process is killed. Only while the folder is `locked`."""
    for path in Path(folder).glob(".writing-*"):
        path.unlink(missing_ok=True)


def memory_in(file, field):
    """A number of bytes that Linux tells in a file, None where it does not.

    "/proc/self/status" has VmRSS, of this process now, and VmHWM, at most so far; "/proc/meminfo" has MemAvailable.
    """
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":")), None)
