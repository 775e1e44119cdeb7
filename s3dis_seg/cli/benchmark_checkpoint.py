"""`s3dis-seg benchmark --stress` and `--quality`: tables of a checkpoint on labelled rooms."""

import math
from dataclasses import asdict

from s3dis_seg.cli.progress import bar as progress_bar
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT


def benchmark_checkpoint(arguments):
    """Score a checkpoint on altered rooms, or with fewer and more looks. -> report, lines to print"""
    from s3dis_seg.data.rooms.open import open_rooms

    checkpoint = arguments.checkpoint or DEFAULT_CHECKPOINT
    folder = arguments.stress or arguments.quality
    kind = _stress if arguments.stress else _quality
    rows, lines = kind(folder, checkpoint, arguments.device, len(open_rooms(folder)))
    return {"checkpoint": str(checkpoint), "rooms": str(folder), "rows": rows}, lines


def _stress(folder, checkpoint, device, num_rooms):
    from s3dis_seg.evaluation.stress import ALTERATIONS, run
    from s3dis_seg.report import as_dict, stress_table

    with progress_bar(len(ALTERATIONS) * num_rooms, "rooms") as bar:
        rows = run(folder, checkpoint, device, progress=lambda alteration, room: bar.update())
    report = {
        name: {
            **as_dict(row.scores),
            "confidently_wrong": None if math.isnan(row.confidently_wrong) else row.confidently_wrong,
        }
        for name, row in rows.items()
    }
    return report, [stress_table(rows)]


def _quality(folder, checkpoint, device, num_rooms):
    from s3dis_seg.evaluation.quality import LOOKS, run
    from s3dis_seg.report import as_dict, quality_table

    with progress_bar(len(LOOKS) * num_rooms, "rooms") as bar:
        rows = run(folder, checkpoint, device, progress=lambda looks, room: bar.update())
    report = [
        {**asdict(row.looks), "seconds": row.seconds, "blocks": row.blocks, **as_dict(row.scores)} for row in rows
    ]
    return report, [quality_table(rows)]
