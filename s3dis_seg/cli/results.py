"""Scores on the terminal and in files: what `evaluate` and `score` end with."""

_MOST_LINES = 60  # longer tables of rooms are only in the files


def print_results(title, levels, warnings):
    """Tables of every level (as `report` takes them), then all classes together, then warnings."""
    from s3dis_seg.report import class_table, summary_table

    for level, by_name in levels.items():
        if level == "all" or (level != "fold" and len(by_name) == 1):
            continue
        if len(by_name) > _MOST_LINES:
            print(f"\n{len(by_name)} {level}s: by {level} in the files of --out only")
        else:
            print("\n" + summary_table(level, by_name))
    print(f"\n{title}\n")
    print(class_table(_together(levels)))
    for warning in warnings:
        print(f"warning: {warning}")


def write_results(out, title, levels, settings, warnings):
    """scores.json, scores.csv and, where any point was counted, confusion.png in the folder `out`."""
    from s3dis_seg.report import confusion_picture, write_csv, write_json

    write_json(out / "scores.json", levels, settings, warnings)
    write_csv(out / "scores.csv", levels)
    written = [out / "scores.json", out / "scores.csv"]
    if _together(levels).points:
        confusion_picture(out / "confusion.png", _together(levels), title)
        written.append(out / "confusion.png")
    print(f"written: {', '.join(map(str, written))}")


def _together(levels):
    return next(iter(levels["all"].values()))
