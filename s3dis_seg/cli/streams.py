"""Standard output and standard error that can fail without stopping the work: a closed pipe, a full disk."""

import os


class Surviving:
    """A text stream that drops what it cannot write, so that a closed pipe or a full disk does not stop the work.

    lost: None, or why writing failed. Characters that the encoding does not have are written as escapes.
    """

    def __init__(self, stream):
        self.lost = None
        if stream is None:  # the program was started with this stream closed
            self.lost = "it was closed from the start"
            stream = open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
        self.stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text):
        if self.lost is None:
            self._attempt(self.stream.write, text)
        return len(text)

    def flush(self):
        if self.lost is None:
            self._attempt(self.stream.flush)

    def _attempt(self, function, *arguments):
        try:
            function(*arguments)
        except OSError as error:
            self.lost = error.strerror or str(error)
            self._drop_what_waits()

    def _drop_what_waits(self):
        """Discard what the stream has buffered; Python would try to write it again at exit, and fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name):
        return getattr(self.stream, name)
