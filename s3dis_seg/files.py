"""What every part that touches a file shares: one error for bad input, and files that appear whole or not at all."""

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, and what to do about it.

    The command line prints it as one sentence and ends with exit code 2.
    """


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on failure it is removed.

    The temporary name keeps the suffix of `path`, so that writers which look at it behave alike.
    Missing parent folders are made. A full disk or a folder without write permission becomes an InputError.
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
        # mkstemp makes private files; the result should get the permissions of any other new file.
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
