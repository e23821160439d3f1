"""Coronal and sagittal projections with every lesion outlined, numbered and coloured by what was decided about it.

PET: maximum intensity, inverted grey as on a nuclear medicine display, the window stated on the picture. Without PET: the mean
CT, which shows no skin surface (a face could be recognised on one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import Frames
from lesion_pipeline.domain.lesion import Decision, Screened
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.domain.result import Result
from lesion_pipeline.domain.volume import Modality, Volume
from lesion_pipeline.report import layout
from lesion_pipeline.report.furniture import INK, PAPER, SCALE, Frame, font, furnish, stroke
from lesion_pipeline.report.labelling import Box, place_labels
from lesion_pipeline.report.projection import Plane, Projection, project

#: Upper end of the grey scale, SUVbw, by tracer: where a reader usually starts. Display only; nothing is counted from it.
_WINDOW_SUV = {
    Tracer.FDG: 7.0,
    Tracer.PSMA_11: 12.0,
    Tracer.DCFPYL: 12.0,
    Tracer.PSMA_1007: 12.0,
    Tracer.DOTATATE: 15.0,
    Tracer.NAF: 20.0,
    Tracer.CHOLINE: 8.0,
}
_ORDER = (Decision.COUNTED, Decision.UNCERTAIN, Decision.EXCLUDED)


@dataclass(frozen=True, slots=True)
class Window:
    """Values shown as the two ends of the grey scale."""

    low: float
    high: float

    @classmethod
    def of(cls, image: npt.NDArray[np.float32], volume: Volume, tracer: Tracer) -> Window:
        """By tracer where one is known; else from the picture itself (PET: 0 to the 99.5th percentile)."""
        if volume.modality is Modality.PT:
            high = _WINDOW_SUV.get(tracer) or float(np.percentile(image, 99.5))
            return cls(0.0, high if high > 0 else 1.0)
        low, high = (float(v) for v in np.percentile(image, (1.0, 99.8)))
        return cls(low, high if high > low else low + 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Shadow:
    lesion: Screened
    mask: npt.NDArray[np.bool_]  # on the picture's own pixels
    box: Box  # on the canvas


def write_overlays(result: Result, folder: Path) -> tuple[Path, ...]:
    """Write ``overlays/coronal.png`` and ``overlays/sagittal.png`` below a study folder; coronal only for CT, none for neither.

    Returns the paths written.
    """
    study = result.study
    volume = study.pet if study.pet is not None else study.ct
    if volume is None:
        return ()
    planes = (Plane.CORONAL, Plane.SAGITTAL) if volume.modality is Modality.PT else (Plane.CORONAL,)
    written = []
    for plane in planes:
        path = layout.overlay(folder, plane)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = render(volume, result.screened, plane, tracer=study.tracer, frames=study.frames)
        picture.save(path, format="PNG", optimize=True)
        written.append(path)
    return tuple(written)


def render(
    volume: Volume,
    lesions: Sequence[Screened],
    plane: Plane | str,
    *,
    tracer: Tracer = Tracer.UNKNOWN,
    frames: Frames | None = None,
    window: Window | None = None,
    title: str | None = None,
) -> Image.Image:
    """One picture (RGB). Pure: nothing is read or written.

    volume: PET in SUVbw (maximum, inverted grey) or CT in HU (mean, grey), any orientation of the array. lesions: outlined by
    the shadow of their voxels; those on another grid come through ``frames``, those that nothing links are named in the legend
    and not drawn. window: overrides the one chosen by tracer. title: overrides the first line.
    """
    plane = Plane(plane)
    pet = volume.modality is Modality.PT
    fit = (640 * SCALE, 860 * SCALE)
    view = project(volume, plane, reduce="max" if pet else "mean", fit_px=fit)
    window = window or Window.of(view.values, volume, tracer)
    grey = np.clip((view.values - window.low) / (window.high - window.low), 0.0, 1.0)
    grey = 1.0 - grey if pet else grey
    frame = Frame.around((view.values.shape[1], view.values.shape[0]))
    canvas = Image.new("RGB", frame.size, PAPER)
    canvas.paste(Image.fromarray((grey * 255.0 + 0.5).astype(np.uint8)).convert("RGB"), (frame.image.left, frame.image.top))

    shadows, unplaced = _shadows(view, volume, lesions, frames or Frames(), frame)
    draw = ImageDraw.Draw(canvas)
    for shadow in reversed(shadows):  # counted ones are drawn last, on top
        _outline(draw, shadow, frame)
    unlabelled = _number(draw, shadows, frame)
    notes = []
    if unplaced:
        notes.append(f"{unplaced} not drawn: another frame of reference, no transform")
    if unlabelled:
        notes.append(f"{unlabelled} not numbered: no room")
    furnish(
        draw,
        frame,
        title=title or f"{plane.capitalize()} {'MIP, PET' if pet else 'mean, CT'}",
        window=_window_text(window, volume, tracer, inverted=pet),
        letters=plane.letters,
        mm_per_px=view.mm_per_px,
        counts=[(d, sum(s.decision is d for s in lesions)) for d in _ORDER],
        notes=notes,
    )
    return canvas.reduce(SCALE)


def _window_text(window: Window, volume: Volume, tracer: Tracer, *, inverted: bool) -> str:
    ends = f"{window.low:.3g} to {window.high:.3g} {volume.unit}"
    return f"{ends}, inverted grey, tracer {tracer}" if inverted else f"{ends}, grey"


def _shadows(
    view: Projection, volume: Volume, lesions: Sequence[Screened], frames: Frames, frame: Frame
) -> tuple[list[_Shadow], int]:
    """Shadows in the order counted, uncertain, excluded, and how many lesions could not be placed."""
    out, unplaced = [], 0
    for lesion in sorted(lesions, key=lambda s: (_ORDER.index(s.decision), s.finding.id)):
        candidate = lesion.finding.located.candidate
        try:
            link = frames.between(candidate.grid.frame, volume.grid.frame)
        except FrameMismatchError:
            unplaced += 1
            continue
        mask = view.shadow(candidate.voxels, candidate.grid, link.matrix)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            unplaced += 1
            continue
        left, top = frame.image.left, frame.image.top
        box = Box(left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
        out.append(_Shadow(lesion, mask, box))
    return out, unplaced


def _outline(draw: ImageDraw.ImageDraw, shadow: _Shadow, frame: Frame) -> None:
    # the line runs half a stroke outside the lesion, so that small ones stay visible inside it
    padded = np.pad(shadow.mask, 1).astype(np.float32)
    for contour in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]  # scikit-image ships no types for it
        points = np.stack([contour[:, 1] - 1 + frame.image.left, contour[:, 0] - 1 + frame.image.top], axis=1)
        stroke(draw, points, shadow.lesion.decision)


def _number(draw: ImageDraw.ImageDraw, shadows: Sequence[_Shadow], frame: Frame) -> int:
    """Draw the ids; return how many found no room."""
    busy = np.zeros((frame.size[1], frame.size[0]), dtype=np.bool_)
    area = busy[frame.image.top : frame.image.bottom, frame.image.left : frame.image.right]
    for shadow in shadows:
        area |= shadow.mask
    face = font(11)
    texts = [s.lesion.finding.id for s in shadows]
    pad = 2 * SCALE
    extents = [draw.textbbox((0, 0), text, font=face) for text in texts]
    tall = max((int(e[3]) for e in extents), default=0)
    sizes = [(int(e[2]) + 2 * pad, tall + 2 * pad) for e in extents]
    boxes = place_labels([s.box for s in shadows], sizes, frame.image, busy, frame.margins)
    placed = [(s, b, t) for s, b, t in zip(shadows, boxes, texts, strict=True) if b is not None]
    for shadow, box, _ in placed:
        ends = [_nearest(box, shadow.box.centre), _nearest(shadow.box, box.centre)]
        draw.line(ends, fill=INK[shadow.lesion.decision], width=SCALE)
    for shadow, box, text in placed:  # after the lines, which then cross no number
        colour = INK[shadow.lesion.decision]
        filled = shadow.lesion.decision is Decision.COUNTED
        plain = shadow.lesion.decision is Decision.EXCLUDED
        draw.rectangle(
            [box.left, box.top, box.right - 1, box.bottom - 1],
            fill=colour if filled else PAPER,
            outline=None if plain else colour,
            width=SCALE,
        )
        draw.text((box.left + pad, box.top + pad), text, font=face, fill=PAPER if filled else colour)
    return len(boxes) - len(placed)


def _nearest(box: Box, point: tuple[float, float]) -> tuple[float, float]:
    return (min(max(point[0], box.left), box.right), min(max(point[1], box.top), box.bottom))
