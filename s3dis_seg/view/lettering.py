"""The texts of the window: the legend beside the clouds, titles, marks of picked points, and the help.

Everything is drawn into (H, W, 3) uint8 pictures, in pixels. Letters: H and W rows and columns of a picture.
"""

import functools
from pathlib import Path

import numpy as np

PANEL, TITLE = 290, 30  # pixels: width of the legend, height of a title
_ROW, _LEFT, _TOP = 21, 12, 10
_INK, _FAINT, _RULE, _CHOSEN = (25, 25, 25), (130, 130, 130), (205, 205, 205), (228, 236, 247)
_PAPER = (250, 250, 250)


def rows_that_fit(height, below):
    """How many entries of a legend fit above `below` lines of text in a panel of this height."""
    return max((height - 2 * _TOP) // _ROW - below - 1, 3)


def first_row(chosen, count, fitting):
    """The first entry to list, so that the chosen one is seen."""
    return int(min(max(chosen - fitting + 1, 0), max(count - fitting, 0)))


def row_at(y):
    """The row of the panel at a height in pixels, counted from 0; the first entry stands in row 0."""
    return int((y - _TOP) // _ROW)


def panel_picture(lines, chosen, remarks, height):
    """The legend and below it remarks. -> (height, PANEL, 3) uint8

    lines: (name, color, texts of the counts, shown) for each entry. chosen: the number of the line the keys work on.
    remarks: (name, text) for each, or (text, "") over the whole width; an empty pair leaves a gap.
    """
    picture, pen = _paper(PANEL, height, _PAPER)
    y = _TOP
    for number, (name, color, counts, shown) in enumerate(lines):
        if number == chosen:
            pen.rectangle((4, y, PANEL - 6, y + _ROW - 1), fill=_CHOSEN)
        box = (_LEFT, y + 4, _LEFT + 12, y + 16)
        pen.rectangle(box, outline=_FAINT if shown else tuple(color), fill=tuple(color) if shown else _PAPER)
        ink = _INK if shown else _FAINT
        end = PANEL - 12
        for text in reversed(counts):
            pen.text((end, y + 10), text, fill=ink, font=_font(12), anchor="rm")
            end -= 74
        room = (end + 74 - _width(counts[0]) if counts else end) - _LEFT - 32
        pen.text((_LEFT + 22, y + 10), shortened(name, room), fill=ink, font=_font(13), anchor="lm")
        y += _ROW
    for name, text in remarks:
        if not name:
            pen.line((_LEFT, y + 10, PANEL - 12, y + 10), fill=_RULE)
        elif text:
            pen.text((_LEFT, y + 10), shortened(name, 92), fill=_FAINT, font=_font(12), anchor="lm")
            pen.text((_LEFT + 98, y + 10), shortened(text, PANEL - 112 - _LEFT), fill=_INK, font=_font(12), anchor="lm")
        else:
            pen.text((_LEFT, y + 10), shortened(name, PANEL - 24), fill=_INK, font=_font(12), anchor="lm")
        y += _ROW
    pen.line((PANEL - 1, 0, PANEL - 1, height), fill=_RULE)
    return np.array(picture)


def title_picture(text, width, active):
    """A title over a cloud, underlined where the keys work on this one. -> (TITLE, width, 3) uint8"""
    picture, pen = _paper(width, TITLE, (255, 255, 255))
    pen.text((width / 2, TITLE / 2), shortened(text, width - 20), fill=_INK, font=_font(15), anchor="mm")
    if active:
        pen.line((10, TITLE - 2, width - 10, TITLE - 2), fill=(60, 110, 190), width=2)
    return np.array(picture)


def with_marks(picture, marks, line, text):
    """Rings around picked places, and a line with a text between two. -> (H, W, 3) uint8

    marks: (column, row) of each. line: two such places, or None.
    """
    from PIL import Image, ImageDraw

    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    if line:
        pen.line(line, fill=(255, 255, 255), width=4)
        pen.line(line, fill=(0, 0, 0), width=2)
    for column, row in marks:
        for radius, ink in ((8, (255, 255, 255)), (7, (0, 0, 0)), (6, (0, 0, 0)), (5, (255, 255, 255))):
            pen.ellipse((column - radius, row - radius, column + radius, row + radius), outline=ink)
    if line:
        middle = np.mean(line, axis=0)
        box = pen.textbbox(tuple(middle), text, font=_font(14), anchor="mb")
        pen.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=(255, 255, 255), outline=_FAINT)
        pen.text(tuple(middle), text, fill=_INK, font=_font(14), anchor="mb")
    return np.array(drawn)


def help_picture(lines):
    """The keys and what they do. lines: (keys, words) for each -> (H, W, 3) uint8"""
    columns = [max(_width(line[side]) for line in lines) for side in (0, 1)]
    picture, pen = _paper(round(sum(columns) * 1.1 + 60), _ROW * len(lines) + 20, _PAPER)
    for number, (keys, words) in enumerate(lines):
        y = 10 + _ROW * number + 10
        pen.text((16, y), keys, fill=_INK, font=_font(13), anchor="lm")
        pen.text((16 + columns[0] * 1.1 + 20, y), words, fill=_INK, font=_font(13), anchor="lm")
    pen.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=_FAINT)
    return np.array(picture)


def shortened(text, width):
    """The text on one line, its end replaced by dots where it is longer than some pixels."""
    text = " ".join(str(text).split())
    if _width(text) <= width:
        return text
    while text and _width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _width(text):
    return _font(13).getlength(text)


@functools.cache
def _font(size):
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _paper(width, height, color):
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (max(int(width), 1), max(int(height), 1)), color)
    return picture, ImageDraw.Draw(picture)
