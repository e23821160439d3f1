"""The page a reader checks an anatomy by: the spine laid straight, the organs from the front, and the doubts."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from lesion_pipeline.domain.anatomy import StructureKind, VertebraInstance
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.result import Charted
from lesion_pipeline.domain.volume import Modality, Volume
from lesion_pipeline.report.anatomy_json import Part, reference
from lesion_pipeline.report.furniture import PAPER, RESEARCH_USE, SCALE, TEXT, font
from lesion_pipeline.report.labelling import Box, place_labels
from lesion_pipeline.report.projection import Plane, Projection, project
from lesion_pipeline.report.spine_picture import WINDOW_HU, spine_picture

Colour = tuple[int, int, int]
Mask = npt.NDArray[np.bool_]

#: Key without its side -> colour, as far apart as so many can be.
_COLOURS: dict[str, Colour] = {
    "lung": (86, 180, 233),
    "heart": (213, 60, 60),
    "liver": (170, 85, 20),
    "spleen": (150, 60, 170),
    "kidney": (230, 159, 0),
    "stomach": (0, 158, 115),
    "bowel": (200, 190, 60),
    "colon": (160, 170, 40),
    "small_bowel": (220, 200, 90),
    "duodenum": (120, 190, 90),
    "urinary_bladder": (240, 228, 66),
    "brain": (204, 121, 167),
    "aorta": (190, 20, 40),
    "pancreas": (250, 180, 120),
    "adrenal": (255, 120, 60),
    "prostate": (0, 114, 178),
    "airway": (120, 220, 220),
}
_BONE: Colour = (235, 225, 190)
_OTHER: Colour = (120, 200, 160)
_VERTEBRAE: tuple[Colour, Colour] = ((70, 130, 255), (255, 170, 60))
_SHOWN = frozenset({"aorta", "airway"})  # regions that are shown; the others (body, mediastinum, canal) hide what is in them
_WIDTH, _HEIGHT, _PAD, _LINE = 640 * SCALE, 860 * SCALE, 10 * SCALE, 17 * SCALE
_MOST_CAVEATS = 10


def anatomy_page(charted: Charted, organs: Sequence[Part]) -> bytes | None:
    """PNG of the page; None where the study holds no image. organs: ``anatomy_json.parts`` of the study."""
    image = reference(charted.study, charted.anatomy)
    if image is None:
        return None
    right = _organs(image, organs)
    left = _spine(image, charted, right.height)
    width = left.width + right.width + 3 * _PAD
    lines = _doubts(charted.caveats, width)
    top = 2 * _PAD + 2 * _LINE
    height = top + max(left.height, right.height) + _PAD + (len(lines) + 2) * _LINE + _PAD
    page = Image.new("RGB", (width + width % SCALE, height + height % SCALE), PAPER)
    page.paste(left, (_PAD, top))
    page.paste(right, (2 * _PAD + left.width, top))
    draw = ImageDraw.Draw(page)
    draw.text((_PAD, _PAD), f"Anatomy of study {charted.study.key}", font=font(17), fill=TEXT)
    draw.text((_PAD, _PAD + int(1.5 * _LINE)), _summary(charted.anatomy.vertebrae, organs), font=font(12), fill=TEXT)
    y = top + max(left.height, right.height) + _PAD
    for line in lines:
        draw.text((_PAD, y), line, font=font(11), fill=TEXT)
        y += _LINE
    draw.text((_PAD, y + _PAD // 2), RESEARCH_USE, font=font(13), fill=TEXT)
    out = io.BytesIO()
    page.reduce(SCALE).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _summary(vertebrae: Sequence[VertebraInstance], organs: Sequence[Part]) -> str:
    named = [v.level.name for v in sorted(vertebrae, key=lambda v: v.instance) if v.level is not None]
    unsure = len(vertebrae) - len(named)
    spine = "no vertebra found" if not vertebrae else f"{len(vertebrae)} vertebrae"
    if named:
        spine += f", {len(named)} named ({named[0]} to {named[-1]})"
    if unsure:
        spine += f", {unsure} without a sure name"
    found = sum(p.structure.kind is StructureKind.ORGAN for p in organs)
    bones = sum(p.structure.kind is StructureKind.BONE for p in organs)
    return f"{spine}; {found or 'no'} organs, {bones or 'no'} bones beside the vertebrae"


def _spine(image: Volume, charted: Charted, height: int) -> Image.Image:
    """The straightened spine at the height of the other picture; a sentence where there is none."""
    low, high = WINDOW_HU if image.modality is Modality.CT else (float(np.percentile(image.values, q)) for q in (1.0, 99.5))
    # the map that gave the list of vertebrae; the first one holding numbered vertebrae in the reference's own frame
    maps = [m.label_map for m in charted.anatomy.maps if m.label_map.grid.frame == image.grid.frame]
    tint = next((m for m in maps if any(s.instance is not None for s in m.names.values())), None)
    png = spine_picture(image, charted.anatomy.vertebrae, tint, window=(low, high))
    if png is None:
        empty = Image.new("RGB", (220 * SCALE, height), PAPER)
        sentence = "No spine to lay straight: fewer than two vertebrae were found."
        ImageDraw.Draw(empty).multiline_text((0, 8 * SCALE), textwrap.fill(sentence, 30), font=font(13), fill=TEXT)
        return empty
    sheet = Image.open(io.BytesIO(png)).convert("RGB")
    return sheet.resize((round(sheet.width * SCALE), round(sheet.height * SCALE)), Image.Resampling.LANCZOS)


def _organs(image: Volume, organs: Sequence[Part]) -> Image.Image:
    pet = image.modality is Modality.PT
    view = project(image, Plane.CORONAL, reduce="max" if pet else "mean", fit_px=(_WIDTH, _HEIGHT))
    low, high = (float(q) for q in np.percentile(view.values, (1.0, 99.8)))
    grey = np.clip((view.values - low) / max(high - low, 1e-6), 0.0, 1.0)
    colour = np.repeat((255.0 * (1.0 - grey if pet else grey))[..., None], 3, axis=2)
    drawn = [(p, _colour(p), _shadow(view, p)) for p in organs if _is_drawn(p)]
    drawn = [(p, c, s) for p, c, s in drawn if s.any()]
    # bones first, then organs from the largest to the smallest, so that none disappears under another
    drawn.sort(key=lambda d: (d[0].structure.kind is StructureKind.ORGAN or d[0].structure.key in _SHOWN, -d[0].volume_ml))
    for _, ink, shadow in drawn:
        colour[shadow] = 0.72 * colour[shadow] + 0.28 * np.array(ink)
    picture = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    soft = [d for d in drawn if d[0].structure.kind is StructureKind.ORGAN or d[0].structure.key in _SHOWN]
    for _, ink, shadow in soft:  # outlines of ribs and vertebrae would hide the rest
        for contour in find_contours(np.pad(shadow, 1).astype(np.float32), 0.5):  # type: ignore[no-untyped-call]  # no types
            draw.line([(float(x) - 1, float(y) - 1) for y, x in contour], fill=ink, width=SCALE)
    _write_names(draw, [(p, s) for p, _, s in soft], picture.size)
    return _with_legend(picture, [(p, c) for p, c, _ in soft], view)


def _is_drawn(part: Part) -> bool:
    kind = part.structure.kind
    return kind in (StructureKind.ORGAN, StructureKind.BONE, StructureKind.VERTEBRA) or part.structure.key in _SHOWN


def _colour(part: Part) -> Colour:
    structure = part.structure
    if structure.kind is StructureKind.VERTEBRA and structure.instance is not None:
        return _VERTEBRAE[structure.instance % 2 == 0]
    if structure.kind in (StructureKind.BONE, StructureKind.VERTEBRA):
        return _BONE
    base = structure.key.removesuffix("_left").removesuffix("_right")
    return next((c for key, c in _COLOURS.items() if base == key or base.startswith(key + "_")), _OTHER)


def _shadow(view: Projection, part: Part) -> npt.NDArray[np.bool_]:
    """Bool (rows, columns) of the view: where the part throws its shadow."""
    grid, start = part.label_map.grid, np.array([s.start for s in part.box])
    matrix = part.to_reference.matrix @ grid.affine
    mask = part.mask
    for axis in range(3):
        across = np.linalg.norm(matrix[[view.plane.across, 2], axis])
        if across < 1e-6 * np.linalg.norm(matrix[:3, axis]):  # runs along the line of sight: one voxel throws the shadow of all
            mask = np.asarray(mask.any(axis=axis, keepdims=True))
    voxels = np.argwhere(mask) + start
    return view.shadow(voxels.astype(np.int32), grid, part.to_reference.matrix)


def _write_names(draw: ImageDraw.ImageDraw, organs: Sequence[tuple[Part, Mask]], size: tuple[int, int]) -> None:
    face = font(11)
    texts = [p.structure.key.replace("_", " ") for p, _ in organs]
    targets = []
    for _, shadow in organs:
        row, column = (int(c.mean()) for c in np.nonzero(shadow))
        targets.append(Box(column, row, column + 1, row + 1))
    extents = [draw.textbbox((0, 0), text, font=face) for text in texts]
    sizes = [(int(e[2]) + 2 * SCALE, int(e[3]) + 2 * SCALE) for e in extents]
    width, height = size
    busy = np.zeros((height, width), dtype=np.bool_)
    for text, box in zip(texts, place_labels(targets, sizes, Box(0, 0, width, height), busy, ()), strict=True):
        if box is not None:
            draw.text((box.left, box.top), text, font=face, fill=PAPER, stroke_width=SCALE, stroke_fill=TEXT)


def _with_legend(picture: Image.Image, organs: Sequence[tuple[Part, Colour]], view: Projection) -> Image.Image:
    """The picture with R and L, a scale bar, and a table of colours, names and volumes under it."""
    rows = sorted(organs, key=lambda o: o[0].structure.key)
    per_column = (len(rows) + 1) // 2
    top, side = _LINE + _PAD // 2, 22 * SCALE
    below = top + picture.height + _LINE + _PAD
    width = max(picture.width + 2 * side, 460 * SCALE)
    out = Image.new("RGB", (width, below + per_column * _LINE + _PAD), PAPER)
    left = (width - picture.width) // 2
    out.paste(picture, (left, top))
    draw = ImageDraw.Draw(out)
    middle = top + picture.height // 2
    draw.text((left - 5 * SCALE, middle), "R", font=font(15), fill=TEXT, anchor="rm")
    draw.text((left + picture.width + 5 * SCALE, middle), "L", font=font(15), fill=TEXT, anchor="lm")
    draw.text((left, 0), "Organs from the front (coronal projection)", font=font(12), fill=TEXT)
    length = 100.0 if 100.0 / view.mm_per_px < picture.width else 20.0
    row, right = top + picture.height + _LINE // 2, left + picture.width
    draw.line([(right - length / view.mm_per_px, row), (right, row)], fill=TEXT, width=2 * SCALE)
    at = (right - length / view.mm_per_px - 4 * SCALE, row)
    draw.text(at, f"{length:.0f} mm", font=font(11), fill=TEXT, anchor="rm")
    for n, (part, ink) in enumerate(rows):
        x, y = (n // max(per_column, 1)) * width // 2 + _PAD, below + (n % max(per_column, 1)) * _LINE
        draw.rectangle([x, y + 2 * SCALE, x + 11 * SCALE, y + 13 * SCALE], fill=ink, outline=TEXT)
        text = f"{part.structure.key.replace('_', ' ')}  {part.volume_ml:.0f} ml"
        draw.text((x + 16 * SCALE, y), text, font=font(11), fill=TEXT)
    return out


def _doubts(caveats: Sequence[Caveat], width: int) -> list[str]:
    """The caveats that speak of the anatomy first, wrapped to the page."""
    ranked = sorted(caveats, key=lambda c: c.stage != "delineate")
    letters = max(40, width // (6 * SCALE))
    lines = [
        line
        for caveat in ranked[:_MOST_CAVEATS]
        for line in textwrap.wrap(f"{caveat.code}: {caveat.message}", letters, subsequent_indent="    ")
    ]
    if len(ranked) > _MOST_CAVEATS:
        lines.append(f"and {len(ranked) - _MOST_CAVEATS} more in anatomy.json")
    return lines
