"""Measure how far the confidences of a checkpoint can be trusted, and make them honest.

Where the network says 90 %, it should be right in 90 of 100 such points. The rooms that the run validated on are
labelled, accuracy is counted by confidence, and the temperature is found that brings the two together. With --out the
weights are written with this temperature; `segment` then gives honest confidences. No prediction changes. The
temperature is never below 1, which would make the network surer of itself: new scans are harder than rooms of the
buildings it has seen, and there a network is too sure already. BatchNorm channels that no training block has woken are
quietened on the way, so that odd scans cannot make the outputs explode.

Examples:
  s3dis-seg calibrate runs/area5/best.pt --data data/rooms --out runs/area5/calibrated.pt
  s3dis-seg calibrate runs/area5/best.pt --data data/rooms --rooms "Area_5_*" --picture calibration.png
"""

from dataclasses import replace
from pathlib import Path

from s3dis_seg.cli.options import number, require_writable
from s3dis_seg.cli.progress import bar
from s3dis_seg.files import InputError


def add_arguments(parser):
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file, or name of shipped weights")
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, default=Path("data/rooms"), help="prepared rooms (default: %(default)s)"
    )
    parser.add_argument(
        "--rooms", metavar="NAME", nargs="+", help="take these rooms (default: those that the run validated on)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the weights with their temperature")
    parser.add_argument(
        "--half", action="store_true", help="with --out: store the matrices in 16 bits, which halves the file"
    )
    parser.add_argument("--picture", metavar="PNG", type=Path, help="draw accuracy over confidence, before and after")
    parser.add_argument("--stride", type=number(float, 0, above=True), default=0.5, help="as in segment (default: 0.5)")
    parser.add_argument("--passes", type=number(int, 1), default=1, help="as in segment (default: 1)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")


def run(arguments):
    if arguments.half and not arguments.out:
        raise InputError("--half: only together with --out, which names the file to write")
    for path in filter(None, (arguments.out, arguments.picture)):
        require_writable(path.parent)
    from s3dis_seg.evaluation.calibration import best_temperature, probabilities_of_rooms, reliability_at
    from s3dis_seg.evaluation.folds import run_checkpoint
    from s3dis_seg.models.checkpoint import load_checkpoint
    from s3dis_seg.report import calibration_picture, calibration_table
    from s3dis_seg.segmentation import Segmenter
    from s3dis_seg.training.statistics import quieten_silent_channels

    checkpoint = run_checkpoint(arguments.checkpoint)
    _require_another_file(arguments.out, checkpoint)
    model, card = load_checkpoint(checkpoint)
    rooms = _rooms(arguments, card)
    quietened = quieten_silent_channels(model)
    if quietened:
        print(f"{quietened} silent channels of BatchNorm quietened")
    segmenter = Segmenter(model, card, arguments.device, arguments.stride, arguments.passes)
    with bar(len(rooms), "rooms") as shown:
        points = probabilities_of_rooms(segmenter, _counted(rooms, shown))
    best = best_temperature(*points)
    temperature = max(best, 1.0)
    before, after = (reliability_at(*points, at) for at in (card.temperature, temperature))
    print(f"\nat temperature {card.temperature:.3f}, as the file has it:\n{calibration_table(before)}")
    told = "the best for these rooms" if best > 1 else f"since {best:.3f}, the best for these rooms, would be surer"
    print(f"\nat temperature {temperature:.3f}, {told}:\n{calibration_table(after)}")
    if arguments.picture:
        curves = {f"temperature {at:.2f}": counts for at, counts in ((card.temperature, before), (temperature, after))}
        calibration_picture(arguments.picture, curves, f"{len(rooms)} rooms, {checkpoint.name}")
        print(f"wrote {arguments.picture}")
    if arguments.out:
        _write(arguments, model, card, temperature, rooms, after)


def _write(arguments, model, card, temperature, rooms, counts):
    from s3dis_seg.metrics import calibration_error
    from s3dis_seg.models.checkpoint import save_checkpoint

    found = {
        "temperature": temperature,
        "calibration": {"rooms": [room.name for room in rooms], "error": calibration_error(counts)},
    }
    save_checkpoint(arguments.out, model.cpu(), replace(card, provenance=card.provenance | found), half=arguments.half)
    print(f"wrote {arguments.out}")


def _rooms(arguments, card):
    """The rooms named, else those that the run of the checkpoint validated on. -> rooms, as `open_rooms` gives them"""
    from s3dis_seg.data.rooms.open import open_rooms
    from s3dis_seg.evaluation.rooms import choose_rooms, require_whole_rooms

    rooms = open_rooms(arguments.data)
    require_whole_rooms(rooms)
    if arguments.rooms is not None:
        return choose_rooms(rooms, names=arguments.rooms)
    names = set(card.provenance.get("val_rooms") or [])
    chosen = [room for room in rooms if room.name in names]
    if not chosen:
        raise InputError(
            f"{arguments.data} has no room that {arguments.checkpoint} was validated on; name rooms by --rooms that "
            "were not trained on"
        )
    return chosen


def _counted(rooms, shown):
    """The rooms one by one; the bar moves on after each."""
    for room in rooms:
        yield room
        shown.update()


def _require_another_file(out, checkpoint):
    if out and out.exists() and out.samefile(checkpoint):
        raise InputError(f"--out {out} is the checkpoint itself; name another file, so that it is kept")
