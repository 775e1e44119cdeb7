"""What the window shows, and what keys and mouse do to it, without a window: pictures go out, keys and clicks come in.

Letters: H and W rows and columns of a picture.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dis_seg.files import InputError
from s3dis_seg.view.cameras import first_view, write_views
from s3dis_seg.view.checklist import facts_of_point
from s3dis_seg.view.clouds import Cloud, Pane
from s3dis_seg.view.colorings import floor_and_ceiling, title_of, within_heights
from s3dis_seg.view.lettering import (
    PANEL,
    TITLE,
    first_row,
    help_picture,
    panel_picture,
    row_at,
    rows_that_fit,
    title_picture,
    with_marks,
)
from s3dis_seg.view.pictures import write_picture

_SECONDS = 0.02  # for the drawing of a frame while moving
_ALWAYS_WHOLE = 100_000  # points that are drawn whole even while moving
_CLICK = 4  # pixels that the mouse may move between press and release
_STEP = 10  # degrees or hundredths of the view, for an arrow key

KEYS = {  # keys -> what they do, in words, and the name of the method
    ("1", "S"): ("the scan's own colours", "show_scan"),
    ("2", "P"): ("prediction", "show_prediction"),
    ("3", "G"): ("ground truth", "show_truth"),
    ("4", "E"): ("errors", "show_errors"),
    ("5", "C"): ("confidence", "show_confidence"),
    ("TAB",): ("choose the next line of the legend (Shift: the one before)", "choose"),
    ("SPACE",): ("show or hide the chosen line", "toggle_chosen"),
    ("ENTER",): ("show the chosen line alone, or all again", "isolate_chosen"),
    ("T",): ("ceiling and beams on or off", "toggle_ceiling"),
    ("PAGE_DOWN",): ("cut away from above (Shift: less from below)", "lower_cut"),
    ("PAGE_UP",): ("cut away less from above (Shift: more from below)", "raise_cut"),
    ("HOME",): ("the whole height again", "end_cut"),
    ("F",): ("turn and zoom around the picked point", "center_on_pick"),
    ("X",): ("forget the picked points", "forget_picks"),
    ("LEFT",): ("turn (Shift: move)", "go_left"),
    ("RIGHT",): ("turn (Shift: move)", "go_right"),
    ("UP",): ("turn (Shift: move)", "go_up"),
    ("DOWN",): ("turn (Shift: move)", "go_down"),
    ("+",): ("nearer", "go_nearer"),
    ("-",): ("farther", "go_farther"),
    ("0", "R"): ("back to the first view", "reset_view"),
    ("B",): ("bigger points (Shift: smaller)", "enlarge"),
    ("L",): ("legend on or off", "toggle_legend"),
    ("W",): ("write a picture (PNG) into the present folder", "write_screenshot"),
    ("V",): ("keep this view for a video", "keep_view"),
    ("H",): ("this help on or off", "toggle_help"),
    ("Q", "ESCAPE"): ("close", "close"),
}
MOUSE = {
    "left button": "turn (Shift: move)",
    "right button": "move",
    "wheel": "nearer and farther",
    "click on a point": "pick it; two picked points show their distance",
    "click in the legend": "show or hide a line (Shift: show it alone, or all again)",
}


def help_lines():
    """(keys, what they do) for keys and mouse; keys that do the same stand on one line. -> list of pairs of str"""
    lines = {}
    for keys, (words, _) in KEYS.items():
        lines.setdefault(words, []).extend(key.replace("_", " ").capitalize() for key in keys)
    return [(", ".join(keys), words) for words, keys in lines.items()] + list(MOUSE.items())


@dataclass(frozen=True)
class Pick:
    """A picked point: pane: number of the pane. point: its number in the scan. place: (3,) metres."""

    pane: int
    point: int
    place: np.ndarray


class Scene:
    """One scan in one or two colourings, or two scans, side by side under one camera.

    scans, colorings: one or two of each; of two scans each has its colouring. size: (W, H) of the picture.
    tell: called with a sentence, and a legend (name, color) for each line, whenever there is something to say.
    heights: (low, high) metres above the floor, of a slice. `step` draws, and the other methods are what keys and mouse
    do. view, hidden, picks and ceiling may be set from outside; call `refresh` then.
    """

    def __init__(
        self, scans, colorings, tell, size=(1280, 960), ceiling=False, heights=None, azimuth=None, elevation=68.0
    ):  # fmt: skip
        self.tell, self.size, self.ceiling = tell, tuple(size), ceiling
        clouds = [Cloud(scan) for scan in scans]
        for cloud in clouds:
            if len(cloud.rows) < len(cloud.scan):
                tell(f"showing {len(cloud.rows):,} of {len(cloud.scan):,} points, taken at random")
        shifts = [(0, 0, 0)] * len(colorings)
        if len(clouds) == 2 and _apart(*clouds):
            tell("the two scans lie apart from each other; each is shown about its own middle")
            shifts[1] = clouds[1].origin - clouds[0].origin
        beside = clouds if len(clouds) > 1 else clouds * len(colorings)
        self.panes = [Pane(*of_pane) for of_pane in zip(beside, colorings, shifts)]
        if heights is not None:
            within_heights(clouds[0].scan, heights)
        self.floor, self.top = floor_and_ceiling(clouds[0].scan.xyz)
        self.heights = (-np.inf, np.inf) if heights is None else tuple(self.floor + value for value in heights)
        self.hidden, self.picks, self.kept_views = set(), [], []
        self.chosen, self.active, self.enlarged = 0, 0, 1.0
        self.legend_shown, self.help_shown, self.closed = True, False, False
        self._looking = {"azimuth": azimuth, "elevation": elevation}
        self._budget, self._drag, self._views_file = 300_000, None, None
        self.actions = {key: getattr(self, name) for keys, (_, name) in KEYS.items() for key in keys}
        if not ceiling and not any(len(pane.cloud.shown(pane.coloring)) for pane in self.panes):
            self.ceiling = True  # the scan is nothing but ceiling
        self.refresh()
        self.reset_view()

    # --- pictures

    def refresh(self):
        """To be called when something about the scans, or about what is hidden, has changed."""
        for pane in self.panes:
            pane.shown = pane.cloud.shown(pane.coloring, self.hidden, self.ceiling, self.heights)
        self._relabel()

    def _relabel(self):
        self._letters, self._stale, self._pieces = None, True, None

    def resize(self, size):
        """The picture gets another size, (W, H)."""
        if tuple(size) != self.size and min(size) > 0:
            self.size = tuple(size)
            self._relabel()

    def look(self, view):
        """Look from elsewhere."""
        self.view, self._stale, self._pieces = view, True, None

    def step(self):
        """Draw what there is to draw now, for about 1/50 of a second. -> (H, W, 3) uint8, or None if nothing is new

        After a change a thinned cloud comes first, and the whole one with the following calls.
        """
        if self._stale:
            self._stale = False
            whole = self._draw_coarse()
            self._pieces = None if whole else self._draw_whole()
            return self._compose()
        if self._pieces is None or next(self._pieces, self) is not self:
            return None
        self._pieces = None
        return self._compose()

    @property
    def at_rest(self):
        """Whether there is nothing left to draw."""
        return not self._stale and self._pieces is None

    def picture(self):
        """The whole picture, in full detail. -> (H, W, 3) uint8"""
        self._stale, self._pieces = False, None
        for _ in self._draw_whole():
            pass
        return self._compose()

    def _draw_coarse(self):
        """Draw at most the points for which there is time. -> True where these are all points"""
        if sum(len(pane.shown) for pane in self.panes) <= _ALWAYS_WHOLE:
            for _ in self._draw_whole():
                pass
            return True
        start = time.perf_counter()
        for pane, (width, height) in zip(self.panes, self._pane_sizes()):
            count = self._budget // len(self.panes)
            for _ in pane.drawing(self.view, (width, height), count, self.enlarged, coarseness=2):
                pass
        self._budget = next_budget(self._budget, time.perf_counter() - start)
        return False

    def _draw_whole(self):
        for pane, size in zip(self.panes, self._pane_sizes()):
            yield from pane.drawing(self.view, size, enlarged=self.enlarged)

    def _compose(self):
        """Put legend, titles, clouds and marks together. -> (H, W, 3) uint8"""
        width, height = self.size
        picture = np.empty((height, width, 3), np.uint8)
        if self._letters is None:
            self._letters = self._draw_letters()
        panel, titles, help_text = self._letters
        left = 0
        if panel is not None:
            picture[:, :PANEL] = panel
            left = PANEL
        for pane, title in zip(self.panes, titles):
            right = left + title.shape[1]
            picture[:TITLE, left:right] = title[:height]
            pane.paint(picture[TITLE:, left:right])
            left = right
        for number in range(1, len(self.panes)):
            picture[:, self._left_of(number)] = 205
        if self.picks:
            picture = self._mark_picks(picture)
        if help_text is not None:
            top, left = max((height - len(help_text)) // 2, 0), max((width - help_text.shape[1]) // 2, 0)
            part = picture[top : top + len(help_text), left : left + help_text.shape[1]]
            part[...] = help_text[: part.shape[0], : part.shape[1]]
        return picture

    def _draw_letters(self):
        titles = [
            title_picture(self._title(pane), width, len(self.panes) > 1 and number == self.active)
            for number, (pane, (width, _)) in enumerate(zip(self.panes, self._pane_sizes()))
        ]
        return self._draw_panel(), titles, help_picture(help_lines()) if self.help_shown else None

    def _title(self, pane):
        title = title_of(pane.cloud.scan, pane.coloring)
        several = len({pane.cloud for pane in self.panes}) > 1
        return f"{Path(pane.cloud.scan.path).name}: {title}" if several and pane.cloud.scan.path else title

    def _draw_panel(self):
        if not self._panel_width():
            return None
        entries, remarks = self.entries(), self._remarks()
        fitting = rows_that_fit(self.size[1], min(len(remarks), 14))
        first = first_row(self.chosen, len(entries), fitting)
        lines = [
            (name, color, [f"{count:,}" if count else "-" for count in counts], (sort, name) not in self.hidden)
            for (sort, name), color, counts in entries[first : first + fitting]
        ]
        return panel_picture(lines, self.chosen - first, remarks, self.size[1])

    def _remarks(self):
        """What stands below the legend: (name, text) for each line."""
        remarks = [("", "")]
        shown = " and ".join(f"{len(pane.shown):,}" for pane in self.panes)
        remarks.append((f"{shown} points shown", ""))
        overhead = self.panes[0].cloud.overhead
        if overhead and not self.ceiling:
            remarks.append(("ceiling and beams are hidden: T", ""))
        if np.isfinite(self.heights).any():
            remarks.append((f"heights from {' to '.join(self._height_words())}", ""))
        for pick in self.picks[-1:]:
            remarks.append(("", ""))
            remarks += facts_of_point(self.panes[pick.pane].cloud.scan, pick.point)
        if len(self.picks) == 2:
            remarks.append(("distance", self._distance_words().partition(" (")[0]))
        return [*remarks, ("", ""), ("keys and mouse: H", "")]

    def _height_words(self):
        low, high = (value - self.floor for value in self.heights)
        return [
            f"{low:.2f} m" if np.isfinite(low) else "the lowest",
            f"{high:.2f} m" if np.isfinite(high) else "the top",
        ]

    def entries(self):
        """The lines of the legend, of all panes; classes last. -> list of ((sort, name), color, counts of each pane)"""
        places = [{entry.key: entry for entry in pane.entries} for pane in self.panes]
        keys = dict.fromkeys(key for entries in places for key in entries)
        return [
            (key, next(place[key].color for place in places if key in place),
             [place[key].count if key in place else 0 for place in places])
            for key in sorted(keys, key=lambda key: key[0] == "class")
        ]  # fmt: skip

    def _mark_picks(self, picture):
        camera_of = [pane.camera(self.view, size) for pane, size in zip(self.panes, self._pane_sizes())]
        marks, line = [], None
        for number, camera in enumerate(camera_of):
            ends = []
            for pick in self.picks:
                place = pick.place - self.panes[pick.pane].shift + self.panes[number].shift
                (column,), (row,), (depth,) = camera.project(place[None])
                if depth > 0:
                    ends.append((column + self._left_of(number), row + TITLE))
            inside = [end for end in ends if abs(end[0]) < 1e5 and abs(end[1]) < 1e5]
            marks += [end for end in inside if self._left_of(number) <= end[0] < self._left_of(number + 1)]
            if len(inside) == 2 and self.picks[-1].pane == number:
                line = tuple(inside)
        return with_marks(picture, marks, line, self._distance_words() if len(self.picks) == 2 else "")

    # --- the layout

    def _panel_width(self):
        return PANEL if self.legend_shown and self.size[0] >= 2 * PANEL else 0

    def _left_of(self, number):
        """The column at which a pane begins; that of the pane after the last is the width."""
        left = self._panel_width()
        return left + (self.size[0] - left) * number // len(self.panes)

    def _pane_sizes(self):
        height = max(self.size[1] - TITLE, 1)
        return [(self._left_of(i + 1) - self._left_of(i), height) for i in range(len(self.panes))]

    def _pane_at(self, x, y):
        """The pane at a place in the picture. -> number, or None over legend and titles"""
        if y < TITLE or x < self._panel_width():
            return None
        return next((i for i in range(len(self.panes)) if x < self._left_of(i + 1)), None)

    # --- the mouse

    def mouse_down(self, button, x, y, shift=False):
        """A button goes down at a place. button: "left", "right" or "middle" """
        self._drag = {"from": (x, y), "at": (x, y), "moves": shift or button != "left", "shift": shift}

    def mouse_move(self, x, y):
        """The mouse moves, with a button down or without."""
        pane = self._pane_at(x, y)
        if self._drag is None:
            if pane is not None and pane != self.active:
                self.active = pane
                self._relabel()
            return
        start, (at_x, at_y) = self._drag["from"], self._drag["at"]
        if np.hypot(x - start[0], y - start[1]) < _CLICK and self._drag["at"] == start:
            return
        self._drag["at"] = x, y
        right, down = x - at_x, y - at_y
        if self._pane_at(*start) is None:
            return
        if self._drag["moves"]:
            self.look(self.view.moved(right, down, self._pane_sizes()[0]))
        else:
            self.look(self.view.turned(-0.3 * right, 0.3 * down))

    def mouse_up(self):
        """The button goes up; where the mouse has not moved, this is a click."""
        drag, self._drag = self._drag, None
        if drag is None or drag["at"] != drag["from"]:
            return
        x, y = drag["from"]
        if x < self._panel_width():
            self._click_legend(y, drag["shift"])
        elif not drag["moves"] and (number := self._pane_at(x, y)) is not None:
            self.pick(number, int(x) - self._left_of(number), int(y) - TITLE)

    def scroll(self, steps, x=None):
        """The wheel turns: nearer, or through the legend when the mouse is over it."""
        if x is not None and x < self._panel_width():
            self.choose(shift=steps > 0)
        else:
            self.look(self.view.nearer(steps))

    def _click_legend(self, y, alone):
        entries = self.entries()
        fitting = rows_that_fit(self.size[1], min(len(self._remarks()), 14))
        row = row_at(y)
        number = row + first_row(self.chosen, len(entries), fitting)
        if 0 <= row < fitting and number < len(entries):
            self.chosen = number
            self.isolate_chosen() if alone else self.toggle_chosen()

    def pick(self, pane, column, row):
        """Pick the point that is seen at a pixel of a pane, and tell what is known of it. -> Pick, or None"""
        point = self.panes[pane].point_at(column, row)
        if point is None:
            return None
        scan = self.panes[pane].cloud.scan
        pick = Pick(pane, point, np.asarray(scan.xyz[point], np.float64))
        self.picks = [*self.picks[-1:], pick]
        self._relabel()
        facts = ", ".join(f"{name} {text}" for name, text in facts_of_point(scan, point))
        self.tell(f"{facts}; distance {self._distance_words()}" if len(self.picks) == 2 else facts)
        return pick

    def _distance_words(self):
        one, other = (pick.place - self.panes[pick.pane].shift for pick in self.picks)
        return f"{np.linalg.norm(one - other):.3f} m ({abs(one - other)[2]:.3f} m in height)"

    # --- the keys

    def press(self, key, shift=False):
        """A key, by its name in KEYS."""
        if (action := self.actions.get(key)) is None:
            return
        if key in _WITH_SHIFT:
            action(shift=shift)
        else:
            action()

    def show(self, coloring):
        """Switch the colouring of the pane under the mouse; where the scan lacks the data, this is told."""
        pane = self.panes[self.active]
        try:
            pane.recolor(coloring)
        except InputError as error:
            self.tell(str(error))
            return
        self.chosen = min(self.chosen, max(len(self.entries()) - 1, 0))
        self.refresh()
        self.tell_state()

    def tell_state(self):
        """Say what is seen, with the legend."""
        pane = self.panes[self.active]
        overhead = "" if self.ceiling or not pane.cloud.overhead else f"; {pane.cloud.overhead} hidden, T shows them"
        lines = [(entry.name, entry.color) for entry in pane.entries if entry.key not in self.hidden]
        self.tell(self._title(pane) + overhead, lines)

    def show_scan(self):
        self.show("scan")

    def show_prediction(self):
        self.show("prediction")

    def show_truth(self):
        self.show("truth")

    def show_errors(self):
        self.show("errors")

    def show_confidence(self):
        self.show("confidence")

    def choose(self, shift=False):
        self.chosen = (self.chosen + (-1 if shift else 1)) % max(len(self.entries()), 1)
        self._relabel()

    def toggle_chosen(self):
        if entries := self.entries():
            self.hidden ^= {entries[self.chosen][0]}
            self.refresh()

    def isolate_chosen(self):
        """Hide all other lines of the same sort; where they are hidden already, show all."""
        if not (entries := self.entries()):
            return
        chosen = entries[self.chosen][0]
        others = {key for key, _, _ in entries if key[0] == chosen[0]} - {chosen}
        alone = chosen not in self.hidden and others and others <= self.hidden
        self.hidden = self.hidden - others - {chosen} if alone else (self.hidden | others) - {chosen}
        self.refresh()

    def toggle_ceiling(self):
        self.ceiling = not self.ceiling
        self.refresh()
        self.tell_state()

    def toggle_legend(self):
        self.legend_shown = not self.legend_shown
        self._relabel()

    def toggle_help(self):
        self.help_shown = not self.help_shown
        self._relabel()

    def lower_cut(self, shift=False):
        self._move_cut(-1, shift)

    def raise_cut(self, shift=False):
        self._move_cut(1, shift)

    def _move_cut(self, direction, lower_end):
        self.heights = moved_cut(self.heights, self.floor, self.top, direction, lower_end)
        self.refresh()

    def end_cut(self):
        self.heights = -np.inf, np.inf
        self.refresh()

    def center_on_pick(self):
        if self.picks:
            pick = self.picks[-1]
            self.look(self.view.at(pick.place - self.panes[pick.pane].shift))
        else:
            self.tell("no point is picked; click on one first")

    def forget_picks(self):
        self.picks = []
        self._relabel()

    def go_left(self, shift=False):
        self._go(1, 0, shift)

    def go_right(self, shift=False):
        self._go(-1, 0, shift)

    def go_up(self, shift=False):
        self._go(0, 1, shift)

    def go_down(self, shift=False):
        self._go(0, -1, shift)

    def _go(self, right, down, moves):
        size = self._pane_sizes()[0]
        step = _STEP * max(size) / 100
        if moves:
            self.look(self.view.moved(right * step, down * step, size))
        else:
            self.look(self.view.turned(-right * _STEP, down * _STEP))

    def go_nearer(self):
        self.look(self.view.nearer(1))

    def go_farther(self):
        self.look(self.view.nearer(-1))

    def reset_view(self):
        """The first view: from above at an angle, with all that is shown in the picture."""
        pane = self.panes[0]
        shown = np.zeros(len(pane.cloud.xyz), bool)
        shown[pane.shown if len(pane.shown) else slice(None)] = True
        view = first_view(pane.cloud.xyz, shown, self._pane_sizes()[0], **self._looking)
        self.look(view.at(np.array(view.target) + pane.cloud.origin))

    def enlarge(self, shift=False):
        self.enlarged = float(np.clip(self.enlarged * (0.8 if shift else 1.25), 0.2, 8))
        self.look(self.view)

    def write_screenshot(self):
        path = free_name(self._stem(), ".png")
        try:
            write_picture(path, self.picture())
        except (InputError, OSError) as error:
            self.tell(str(error))
            return
        self.tell(f"written: {path}")

    def keep_view(self):
        """Add this view to a file, from which `view --video ... --views` makes a video."""
        self.kept_views.append(self.view)
        self._views_file = self._views_file or free_name(self._stem() + "-views", ".json")
        try:
            write_views(self._views_file, self.kept_views)
        except (InputError, OSError) as error:
            self.tell(str(error))
            return
        self.tell(
            f"view {len(self.kept_views)} kept in {self._views_file}; "
            f"a video through these views: --video video.gif --views {self._views_file}"
        )

    def _stem(self):
        path = self.panes[0].cloud.scan.path
        return Path(path).stem if path else "scan"

    def close(self):
        self.closed = True


_WITH_SHIFT = {"TAB", "PAGE_UP", "PAGE_DOWN", "LEFT", "RIGHT", "UP", "DOWN", "B"}


def _apart(one, other):
    """Whether the boxes around two clouds have nothing in common."""
    return bool((np.maximum(one.low, other.low) > np.minimum(one.high, other.high)).any())


def next_budget(budget, seconds):
    """How many points the next frame may draw, after `budget` points took some seconds. -> int"""
    return int(np.clip(budget * np.clip(_SECONDS / max(seconds, 1e-6), 0.5, 1.5), 30_000, 2_000_000))


def moved_cut(heights, floor, top, direction, lower_end):
    """One end of a slice a step up or down; an end beyond floor or top is no end. heights: (low, high) -> (low, high)

    A step is a fortieth of the height, and the slice stays at least a step thick.
    """
    step = max(top - floor, 1e-3) / 40
    low, high = heights
    if lower_end:
        low = min((floor if not np.isfinite(low) else low) + direction * step, min(high, top) - step)
        low = low if low > floor + step / 2 else -np.inf
    else:
        high = max((top if not np.isfinite(high) else high) + direction * step, max(low, floor) + step)
        high = high if high < top - step / 2 else np.inf
    return low, high


def free_name(stem, suffix):
    """A file name in the present folder that is not taken: stem-1.png, stem-2.png, ... -> Path"""
    number = 1
    while (path := Path(f"{stem}-{number}{suffix}")).exists():
        number += 1
    return path
