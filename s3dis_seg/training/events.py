"""Curves for TensorBoard, in a file that grows by an event a value.

SummaryWriter of torch writes in a thread of its own, where a full disk ends in a traceback; here it is told at once.
"""

import os
import socket
import time
from pathlib import Path

from s3dis_seg.files import InputError


class Events:
    """A file of events in a folder. ImportError where the package tensorboard is missing.

    first_step: later events of other files in the folder are void, because a resumed run repeats their steps; None for
    a run that begins.
    """

    def __init__(self, folder, first_step=None):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._writer = event_pb2.Event, summary_pb2.Summary, RecordWriter
        # TensorBoard reads the files of a folder in the order of their names.
        self.path = Path(folder) / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._write(file_version="brain.Event:2")
        if first_step is not None:
            started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=first_step, session_log=started)

    def add(self, name, value, step):
        """Add a point to a curve. InputError where it cannot be written."""
        self._write(step=step, summary=self._summary(value=[self._summary.Value(tag=name, simple_value=value)]))

    def _write(self, **content):
        try:
            with open(self.path, "ab", buffering=0) as file:
                self._writer(file).write(self._event(wall_time=time.time(), **content).SerializeToString())
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; free space, and go on with the run by --resume"
            ) from error
