"""What stands round a projection: title, window, orientation letters, scale bar, legend, the research-use sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw, ImageFont

from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.report.labelling import Box

RESEARCH_USE = "Research use only - not a medical device"
#: Canvas pixels per pixel of the finished picture; drawing large and averaging makes smooth lines.
SCALE = 2
PAPER = (255, 255, 255)
TEXT = (34, 34, 34)
#: Okabe and Ito's palette, which most colour-blind readers tell apart; width and dashes tell it again in grey.
INK = {
    Decision.COUNTED: (213, 94, 0),
    Decision.UNCERTAIN: (0, 114, 178),
    Decision.EXCLUDED: (110, 110, 110),
}
_WIDTH = {Decision.COUNTED: 2 * SCALE, Decision.UNCERTAIN: 2 * SCALE, Decision.EXCLUDED: SCALE}
_DASHES = {Decision.COUNTED: (1, 0), Decision.UNCERTAIN: (5 * SCALE, 3 * SCALE), Decision.EXCLUDED: (2 * SCALE, 2 * SCALE)}
_STYLE = {Decision.COUNTED: "solid", Decision.UNCERTAIN: "dashed", Decision.EXCLUDED: "thin, dotted"}

_SIDE, _TOP, _BOTTOM, _LEAST_WIDTH = 64 * SCALE, 60 * SCALE, 112 * SCALE, 460 * SCALE


@dataclass(frozen=True, slots=True)
class Frame:
    """size: (width, height) of the canvas. image: where the projection lies. margins: strips for labels, left and right."""

    size: tuple[int, int]
    image: Box
    margins: tuple[Box, Box]

    @classmethod
    def around(cls, image_size: tuple[int, int]) -> Frame:
        """The canvas for a projection of (width, height) pixels, a whole number of finished pixels."""
        width, height = image_size
        across = max(width + 2 * _SIDE, _LEAST_WIDTH)
        across += -across % SCALE
        down = height + _TOP + _BOTTOM
        down += -down % SCALE
        left = (across - width) // 2
        image = Box(left, _TOP, left + width, _TOP + height)
        inset = 22 * SCALE  # the orientation letters stand next to the image
        sides = (Box(0, image.top, left - inset, image.bottom), Box(image.right + inset, image.top, across, image.bottom))
        return cls((across, down), image, sides)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, ``size`` in pixels of the finished picture."""
    return ImageFont.load_default(size * SCALE)


def stroke(draw: ImageDraw.ImageDraw, points: npt.NDArray[np.float64], decision: Decision) -> None:
    """Draw a line through (n, 2) canvas points in the style of a decision, with a white rim that shows on black uptake."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    if along[-1] == 0:
        return
    steps = np.arange(0.0, along[-1] + 0.5, 0.5)
    dense = np.stack([np.interp(steps, along, points[:, axis]) for axis in (0, 1)], axis=1)
    on, off = _DASHES[decision]
    pieces = [dense]
    if off:
        starts = np.arange(0.0, along[-1], on + off)
        pieces = [dense[(steps >= s) & (steps <= s + on)] for s in starts]
    draw.line([(x, y) for x, y in dense], fill=PAPER, width=_WIDTH[decision] + SCALE, joint="curve")
    for piece in pieces:
        if len(piece) > 1:
            draw.line([(x, y) for x, y in piece], fill=INK[decision], width=_WIDTH[decision], joint="curve")


def furnish(
    draw: ImageDraw.ImageDraw,
    frame: Frame,
    *,
    title: str,
    window: str,
    letters: tuple[str, str],
    mm_per_px: float,
    counts: Sequence[tuple[Decision, int]],
    notes: Sequence[str],
) -> None:
    """Draw everything round the image. mm_per_px: millimetres per canvas pixel."""
    image, pad = frame.image, 10 * SCALE
    draw.rectangle([image.left - 1, image.top - 1, image.right, image.bottom], outline=(190, 190, 190))
    draw.text((pad, 6 * SCALE), title, font=font(17), fill=TEXT)
    draw.text((pad, 29 * SCALE), window, font=font(12), fill=TEXT)

    x, y = image.centre
    for text, place, anchor in (
        (letters[0], (image.left - 5 * SCALE, y), "rm"),
        (letters[1], (image.right + 5 * SCALE, y), "lm"),
        ("H", (x, image.top - 3 * SCALE), "ms"),
        ("F", (x, image.bottom + 3 * SCALE), "ma"),
    ):
        draw.text(place, text, font=font(15), fill=TEXT, anchor=anchor)

    _scale_bar(draw, frame, mm_per_px)
    row = image.bottom + 28 * SCALE
    column = float(pad)
    for decision, count in counts:
        line = np.array([[column, row + 8 * SCALE], [column + 28 * SCALE, row + 8 * SCALE]])
        stroke(draw, line, decision)
        text = f"{decision} ({_STYLE[decision]}): {count}"
        draw.text((column + 34 * SCALE, row), text, font=font(12), fill=TEXT)
        column += 34 * SCALE + draw.textlength(text, font=font(12)) + 14 * SCALE
    draw.text((pad, row + 24 * SCALE), "; ".join(notes), font=font(12), fill=TEXT)
    draw.text((pad, row + 50 * SCALE), RESEARCH_USE, font=font(13), fill=TEXT)


def _scale_bar(draw: ImageDraw.ImageDraw, frame: Frame, mm_per_px: float) -> None:
    room = (frame.image.right - frame.image.left) * mm_per_px / 2
    length_mm = max((n for n in (5, 10, 20, 50, 100, 200) if n <= room), default=1)
    right, row = frame.image.right, frame.image.bottom + 8 * SCALE
    left = right - length_mm / mm_per_px
    draw.line([(left, row), (right, row)], fill=TEXT, width=2 * SCALE)
    for end in (left, right):
        draw.line([(end, row - 3 * SCALE), (end, row + 3 * SCALE)], fill=TEXT, width=SCALE)
    draw.text((left - 4 * SCALE, row), f"{length_mm} mm", font=font(12), fill=TEXT, anchor="rm")
