"""The page says what made-up numbers say, and no more; the tables and pictures hold them."""

import csv
import json
import math
from dataclasses import asdict

import matplotlib
import pytest

from s3dis_seg.depth.findings import Summary, findings, has_fallen, summaries
from s3dis_seg.depth.measures import MEASURES
from s3dis_seg.depth.plots import _kinds, write_plots
from s3dis_seg.depth.results import read_runs, run_path, write_run, write_tables
from s3dis_seg.depth.systems import grid
from s3dis_seg.files import InputError

CONDITIONS = {"steps": 300, "num_points": 512}
FLAT = dict.fromkeys(("gradient", "weight_gradient", *MEASURES), 1.0)


def made_up(block, blocks, seed=0, first=FLAT, miou=0.5, oa=0.8, diverged_at=None, **settings):
    """The result of a run whose layer 1 has the values `first`, and all others 1."""
    [system] = grid(1, block=[block], blocks=[blocks], **{name: [value] for name, value in settings.items()})
    rows = [
        {"state": state, "layer": layer, "width": 16, **FLAT, **(first if layer == 1 else {})}
        for state in ("start", "trained")[: 1 if diverged_at else 2]
        for layer in range(1, blocks + 1)
    ]
    scores = {"miou": miou, "oa": oa, "val_loss": 1.0, "train_loss": 1.0}
    if diverged_at:
        scores = dict.fromkeys(scores, math.nan)
    return {
        "name": system.name, "seed": seed, "network": asdict(system.network), "parameters": 10, "seconds": 1.0,
        "commonest_share": 0.3, "diverged_at": diverged_at, "layers": rows, **scores,
    }  # fmt: skip


def section(page, title):
    return next(part for part in page.split("\n## ") if part.startswith(title))


def page_of(*runs):
    return findings(list(runs), CONDITIONS)


def test_a_vanished_gradient_in_the_plain_network_alone_is_seen():
    page = page_of(made_up("plain", 4, first={"gradient": 1e-4}), made_up("res", 4, first={"gradient": 0.4}))
    gradients = section(page, "Gradients")
    assert "layer 1 is 0.0001 times that of layer 4 in plain-4, and 0.4 times in res-4" in gradients
    assert gradients.count("**Seen.**") == 2
    assert "| plain-4 | edge | - | 0.0001 vanished | 0.0001 vanished | 1 unrelated | 1 unrelated | 1 | 1 |" in page


@pytest.mark.parametrize(("plain", "res"), [(0.5, 0.5), (1e-4, 1e-4), (0.5, 1e-4)])
def test_a_gradient_that_vanishes_nowhere_or_everywhere_is_not_what_the_textbook_says(plain, res):
    page = page_of(made_up("plain", 4, first={"gradient": plain}), made_up("res", 4, first={"gradient": res}))
    assert section(page, "Gradients").count("**Not seen here.**") == 2


def test_failures_that_are_not_those_of_the_textbook_have_words_too():
    failing = made_up("plain", 4, first={"gradient": 1e6, "relative_energy": 0.2, "effective_rank": 4.0})
    assert (
        "| plain-4 | edge | - | 1e+06 exploded | 1e+06 exploded | 5 unrelated | 5 unrelated | 0.25 lost |"
        in page_of(failing)
    )
    healthy = made_up("res", 4, first={"relative_energy": 1.0})
    for row in healthy["layers"]:
        row["relative_energy"] *= 0.3
    assert "| res-4 | edge | - | 1 | 1 | 1 | 1 | 1 | 1 |" in page_of(healthy)


def test_plain_and_residual_networks_are_compared_at_one_depth():
    page = page_of(made_up("plain", 4), made_up("res", 3))
    assert "not tested, for want of a plain and a residual network of one depth" in section(page, "Gradients")


def test_smoothing_is_judged_by_the_energy_of_the_last_layer():
    smooth = section(page_of(made_up("plain", 4, first={"relative_energy": 10.0})), "Features smooth")
    assert "of plain-4 is 0.1 times that of layer 1" in smooth and smooth.count("**Seen.**") == 2
    rough = section(page_of(made_up("plain", 4, first={"relative_energy": 1.5})), "Features smooth")
    assert rough.count("**Not seen here.**") == 2


def test_a_scale_that_is_kept_is_seen_with_normalisation_and_not_without():
    runs = [
        made_up("plain", 4, conv=conv, first={"rms": scale})
        for conv, scale in (("gcn-none", 1e-5), ("gcn", 2.0), ("gcn-symmetric", 50.0))
    ]
    lines = [line for line in section(page_of(*runs), "Random-walk").splitlines() if ", start:" in line]
    assert [line.rpartition(". ")[2] for line in lines] == ["**Seen.**", "**Seen.**", "**Not seen here.**"]
    assert "Not tested: no GCN" in section(page_of(made_up("plain", 4)), "Random-walk")


def test_ranks_are_to_be_lost_by_plain_networks_and_kept_by_the_others():
    runs = [made_up(block, 4, first={"effective_rank": 4.0}) for block in ("plain", "res", "dense")]
    lines = [line for line in section(page_of(*runs), "Residual and dense").splitlines() if ", start," in line]
    assert [line.rpartition(". ")[2] for line in lines] == ["**Seen.**", "**Not seen here.**", "**Not seen here.**"]


def test_dilation_is_judged_on_networks_that_differ_in_nothing_else():
    low, high = made_up("res", 4), made_up("res", 4, dilation=True)
    for row in high["layers"]:
        row["effective_rank"] = 3.0
    found = section(page_of(low, high), "Dilation")
    assert "is 3 with and 1 without dilation" in found and found.count("**Seen.**") == 2
    assert "Not tested" in section(page_of(low, made_up("res", 5, dilation=True)), "Dilation")


def test_a_fall_of_the_score_must_exceed_the_spread_of_the_seeds():
    def group(*low):
        return [
            Summary([made_up("plain", 2)]),
            Summary([made_up("plain", 4, seed, miou=m) for seed, m in enumerate(low)]),
        ]

    assert has_fallen(group(0.4, 0.4)) is True
    assert has_fallen(group(0.6, 0.2)) is False
    assert has_fallen(group(0.495)) is False
    assert has_fallen(group(0.5)[:1]) is None
    assert has_fallen([Summary([made_up("plain", 2)]), Summary([made_up("plain", 4, diverged_at=3)])]) is True
    assert has_fallen([Summary([made_up("plain", 2, oa=0.31)]), *group(0.1)[1:]]) is None


def test_the_score_is_to_fall_in_plain_networks_only():
    runs = [made_up(block, n, miou=m) for block in ("plain", "res") for n, m in ((2, 0.5), (4, 0.2))]
    lines = [line for line in section(page_of(*runs), "Accuracy").splitlines() if line.startswith("- ")]
    assert "2 layers 50.0 ± 0.0, 4 layers 20.0 ± 0.0" in lines[0]
    assert [line.rpartition(" **")[2] for line in lines] == ["Seen.**", "Not seen here.**"]


def test_a_network_that_diverged_or_learned_nothing_is_remarked():
    page = page_of(made_up("plain", 4, diverged_at=7), made_up("res", 4, oa=0.31))
    assert "diverged in 1 of 1 runs" in page and "no better than the commonest class" in page
    assert "**No number to judge by.**" in section(page, "Gradients")


def test_ratios_are_geometric_means_over_the_seeds():
    [summary] = summaries([made_up("plain", 4, seed, first={"gradient": g}) for seed, g in enumerate((1e-2, 1e-4))])
    assert summary.ratio("gradient", "start", over_last=True) == pytest.approx(1e-3)
    assert summary.ratio("gradient", "start") == pytest.approx(1e3)


def test_numbers_that_are_missing_in_a_layer_make_no_ratio():
    [summary] = summaries([made_up("plain", 4, first={"mad": math.nan})])
    assert math.isnan(summary.ratio("mad", "start")) and summary.last("mad", "start") == 1


def write(out, run, conditions=CONDITIONS):
    [system] = summaries([run])
    write_run(out, system.system, run, conditions)
    return run_path(out, system.system)


def test_runs_come_back_as_they_were_and_tables_hold_every_layer(tmp_path):
    runs = [made_up("plain", 2, first={"mad": math.nan}), made_up("plain", 4, diverged_at=3)]
    for run in runs:
        write(tmp_path, run)
    found = read_runs(tmp_path, CONDITIONS)
    assert [run["name"] for run in found] == ["plain-2-edge", "plain-4-edge"]
    assert math.isnan(found[0]["layers"][0]["mad"]) and math.isnan(found[1]["miou"]) and found[1]["diverged_at"] == 3
    write_tables(tmp_path, found)
    with open(tmp_path / "layers.csv") as file:
        layers = list(csv.DictReader(file))
    assert len(layers) == 2 * 2 + 4 and layers[0]["mad"] == "" and float(layers[1]["mad"]) == 1
    with open(tmp_path / "runs.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["diverged_at"] for line in lines] == ["", "3"] and lines[1]["blocks"] == "4"
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["layers"][0]["mad"] is None


def test_a_damaged_renamed_or_differently_made_run_is_refused(tmp_path):
    path = write(tmp_path, made_up("plain", 2))
    with pytest.raises(InputError, match=r"other conditions \(steps 300\).*name another --out"):
        read_runs(tmp_path, CONDITIONS | {"steps": 100})
    moved = path.rename(path.with_name("res-2-edge-seed0.json"))
    with pytest.raises(InputError, match="it was renamed"):
        read_runs(tmp_path, CONDITIONS)
    for damage in ("", "[]", "{}", moved.read_text()[:500], moved.read_text().replace('"plain"', '"ladder"')):
        moved.write_text(damage)
        with pytest.raises(InputError, match="cannot be read as the result of a run; delete it"):
            read_runs(tmp_path, CONDITIONS)


def test_pictures_show_every_measure_also_where_numbers_are_missing(tmp_path):
    runs = [made_up("plain", 3, seed, first={"mad": math.nan, "energy": 0.0}) for seed in (0, 1)]
    before = matplotlib.get_backend()
    names = write_plots(tmp_path, [*runs, made_up("res", 3, diverged_at=2)])
    assert len(names) == len(MEASURES) + 2 + 1 and matplotlib.get_backend() == before
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in names)


def test_a_picture_names_what_differs_and_in_its_title_what_is_shared():
    runs = [made_up("plain", 2, norm="none"), made_up("res", 2, norm="none", fusion=False)]
    assert _kinds(summaries(runs)) == (["plain", "res nofusion"], ["edge", "nonorm"])
