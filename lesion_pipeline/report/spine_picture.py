"""The spine laid straight, with the name and the confidence of every vertebra: what a reader checks first.

Made from the CT and the vertebrae's centres alone, so that it shows the answer of any segmenter.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from lesion_pipeline.domain.anatomy import VertebraInstance
from lesion_pipeline.domain.volume import LabelMap, Volume
from lesion_pipeline.report.furniture import PAPER, TEXT, font

Array = npt.NDArray[np.float64]

WINDOW_HU = (-150.0, 550.0)
BEYOND_MM = 25.0
FRONT_MM, BACK_MM, ASIDE_MM = 40.0, 80.0, 60.0
ZOOM = 2
MARGIN_PX = 190
SURE = (20, 110, 60)
UNSURE = (190, 90, 0)
_FOOT = "Research use only. Straightened along the vertebral bodies; not to be measured."


def _curve(centres: Array) -> tuple[Array, Array, Array]:
    """(points, front, left), each (n, 3), 1 mm apart from head to tail; and smooth between the centres."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(centres, axis=0), axis=1))])
    s = np.arange(-BEYOND_MM, length[-1] + BEYOND_MM)
    inner = np.clip(s, 0.0, length[-1])
    points = np.stack([np.interp(inner, length, centres[:, n]) for n in range(3)], axis=1)
    first = (centres[1] - centres[0]) / max(length[1], 1e-6)
    last = (centres[-1] - centres[-2]) / max(length[-1] - length[-2], 1e-6)
    points += np.clip(s, None, 0.0)[:, None] * first + np.clip(s - length[-1], 0.0, None)[:, None] * last
    points = np.asarray(ndimage.gaussian_filter1d(points, 9.0, axis=0, mode="nearest"))
    down = np.gradient(points, axis=0)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    left = np.array([1.0, 0.0, 0.0]) - down[:, :1] * down
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return points, np.cross(down, left), left


def _sheet(
    ct: Volume, points: Array, across: Array, reach: Array, thick: Array, *, window: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Grey picture (n, m): the image along the curve and ``across`` it, the mean over ``thick`` offsets (k, n, 3)."""
    total = np.zeros((len(points), len(reach)))
    for offset in thick:
        where = points[:, None] + offset[:, None] + reach[None, :, None] * across[:, None]
        index = np.moveaxis(ct.grid.index(where.reshape(-1, 3)), -1, 0)
        hu = ndimage.map_coordinates(ct.values, index, order=1, mode="constant", cval=min(window[0], -1024.0))
        total += hu.reshape(total.shape)
    low, high = window
    return np.asarray(np.clip((total / len(thick) - low) / (high - low), 0.0, 1.0) * 255, dtype=np.uint8)


def spine_picture(
    ct: Volume,
    vertebrae: Sequence[VertebraInstance],
    label_map: LabelMap | None = None,
    *,
    window: tuple[float, float] = WINDOW_HU,
) -> bytes | None:
    """PNG: sagittal and coronal sheets, names with probabilities beside them; None for fewer than two vertebrae.

    ct: HU (or an MR, with a ``window`` of its own), and centres in its frame.
    label_map: tints what a vertebra was given, if it lies in the same frame.
    """
    ordered = sorted(vertebrae, key=lambda v: v.instance)
    if len(ordered) < 2:
        return None
    centres = np.array([v.centroid_lps_mm for v in ordered])
    points, front, left = _curve(centres)
    thin = np.array([-3.0, 0.0, 3.0])[:, None, None]
    depth, width = np.arange(-BACK_MM, FRONT_MM), np.arange(-ASIDE_MM, ASIDE_MM)
    sheets = [
        _sheet(ct, points, front, depth, thin * left, window=window),
        _sheet(ct, points, left, width, thin * front, window=window),
    ]
    tinted = [_tint(sheets[0], points, front, depth, label_map), _tint(sheets[1], points, left, width, label_map)]
    page = _page(tinted)
    draw = ImageDraw.Draw(page)
    knots = [int(np.argmin(np.linalg.norm(points - centre, axis=1))) for centre in centres]
    _write_names(draw, ordered, knots, page.width)
    draw.text((8, page.height - 22), _FOOT, fill=TEXT, font=font(6))
    out = io.BytesIO()
    page.save(out, format="PNG")
    return out.getvalue()


def _tint(
    sheet: npt.NDArray[np.uint8], points: Array, across: Array, reach: Array, label_map: LabelMap | None
) -> npt.NDArray[np.uint8]:
    """The sheet in colour: odd and even instances in two tints."""
    colour = np.repeat(sheet[..., None], 3, axis=2).astype(np.float64)
    if label_map is not None:
        where = points[:, None] + reach[None, :, None] * across[:, None]
        labels = label_map.at(where.reshape(-1, 3)).reshape(sheet.shape)
        for value, structure in label_map.names.items():
            if structure.instance is None:
                continue
            hue = np.array([70.0, 130.0, 255.0]) if structure.instance % 2 else np.array([255.0, 170.0, 60.0])
            inside = labels == value
            colour[inside] = 0.72 * colour[inside] + 0.28 * hue
    return np.asarray(np.clip(colour, 0, 255), dtype=np.uint8)


def _page(sheets: Sequence[npt.NDArray[np.uint8]]) -> Image.Image:
    images = [Image.fromarray(s).resize((s.shape[1] * ZOOM, s.shape[0] * ZOOM), Image.Resampling.BILINEAR) for s in sheets]
    width = MARGIN_PX + sum(i.width for i in images) + 24
    page = Image.new("RGB", (width, max(i.height for i in images) + 40), PAPER)
    x = MARGIN_PX
    for image in images:
        page.paste(image, (x, 8))
        x += image.width + 12
    return page


def _write_names(draw: ImageDraw.ImageDraw, ordered: Sequence[VertebraInstance], knots: Sequence[int], width: int) -> None:
    """Name and probability to the left, a hair line across the sheets at every centre."""
    for vertebra, knot in zip(ordered, knots, strict=True):
        y = 8 + knot * ZOOM
        sure = not vertebra.ambiguous and vertebra.level is not None
        name = vertebra.level.name if vertebra.level else f"V{vertebra.instance:02d}"
        if not sure and vertebra.alternatives:
            name += f" approx. {vertebra.alternatives[0][0].name}"
        colour = SURE if sure else UNSURE
        draw.text((8, y - 9), f"{name}  {vertebra.confidence:.2f}", fill=colour, font=font(8))
        draw.line([(MARGIN_PX - 14, y), (MARGIN_PX, y)], fill=colour, width=2)
        for x in range(MARGIN_PX, width - 12, 14):
            draw.point((x, y), fill=colour)
