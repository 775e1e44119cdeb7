"""`s3dis-seg benchmark --stress`, `--quality` and `--corrections`: tables of a checkpoint on labelled rooms."""

import math
from dataclasses import asdict

from s3dis_seg.cli.progress import bar as progress_bar
from s3dis_seg.models.shipped import DEFAULT_CHECKPOINT


def benchmark_checkpoint(arguments):
    """Score a checkpoint on altered rooms, or with fewer and more looks. -> report, lines to print"""
    from s3dis_seg.data.rooms.open import open_rooms

    checkpoint = arguments.checkpoint or DEFAULT_CHECKPOINT
    if arguments.corrections:
        return _corrections(arguments, checkpoint)
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


def _corrections(arguments, checkpoint):
    """What corrections are worth. -> report, lines to print"""
    from s3dis_seg.benchmarks.corrections import COUNTS, simulate
    from s3dis_seg.cli.train import config_of
    from s3dis_seg.data.rooms.labelled import LEARN_FROM
    from s3dis_seg.data.rooms.open import open_rooms
    from s3dis_seg.evaluation.rooms import require_whole_rooms
    from s3dis_seg.report import as_dict

    rooms = open_rooms(arguments.corrections)
    require_whole_rooms(rooms)
    at_once = min(arguments.at_once or 1, len(rooms))

    def settings(folder):
        return config_of({"data": str(folder), "start": str(checkpoint), "recipe": "corrections"})

    groups = -(-len(rooms) // at_once)
    with progress_bar(1 + groups * (len(COUNTS) - 1) * (1 + len(rooms)), "steps") as bar:

        def told(what):
            bar.set_description(what, refresh=False)
            bar.update()

        rows = simulate(rooms, checkpoint, settings, at_once, LEARN_FROM, arguments.device, told)
    report = [
        {
            "corrections": row.corrections,
            "right": None if math.isnan(row.right) else row.right,
            **{name: found and as_dict(found) for name, found in row.scores.items()},
        }
        for row in rows
    ]
    conditions = {"checkpoint": str(checkpoint), "rooms": [room.name for room in rooms], "at_once": at_once}
    return {**conditions, "rows": report}, list(_corrections_lines(rows, len(rooms), at_once))


def _corrections_lines(rows, num_rooms, at_once):
    yield f"mIoU / overall accuracy in %; {num_rooms} rooms, {at_once} corrected at a time"
    yield ""
    yield f"{'corrections':>11}{'right':>8}{'by hand':>15}{'learned':>15}{'and by hand':>15}{'other rooms':>15}"
    for row in rows:
        right = "-" if math.isnan(row.right) else f"{row.right:.0%}"
        cells = "".join(f"{_both(found):>15}" for found in row.scores.values())
        yield f"{row.corrections:>11}{right:>8}{cells}"


def _both(found):
    return "-" if found is None else f"{100 * found.miou:.1f} / {100 * found.oa:.1f}"
