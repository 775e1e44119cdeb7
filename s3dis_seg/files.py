"""What every part that touches a file shares: one error for bad input, and files that appear whole or not at all."""

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
