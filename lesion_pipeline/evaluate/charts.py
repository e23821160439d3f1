"""Small plots as SVG text, without a plotting library: the page then needs nothing but itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from math import isfinite

WIDTH, HEIGHT = 430, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 48
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"

Range = tuple[float, float]


class Axes:
    """A frame with linear axes; add marks, then ask for the text."""

    def __init__(self, x: Range, y: Range, x_label: str, y_label: str, *, title: str) -> None:
        self._x, self._y = _opened(x), _opened(y)
        self._title = title
        self._marks: list[str] = []
        self._frame(x_label, y_label)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point."""
        u = (x - self._x[0]) / (self._x[1] - self._x[0])
        v = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (_LEFT + u * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - v * (HEIGHT - _TOP - _BOTTOM))

    def line(self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> None:
        """A polyline."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in points))
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')

    def dot(self, x: float, y: float, colour: str, *, radius: float = 4.0, label: str = "") -> None:
        """A dot; the label shows when the pointer rests on it."""
        u, v = self.at(x, y)
        self._marks.append(
            f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.7" stroke="{colour}">'
            f"<title>{escape(label)}</title></circle>"
        )

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", size: int = 11) -> None:
        """Words at a point of the plot."""
        u, v = self.at(x, y)
        self._marks.append(f'<text x="{u:.1f}" y="{v:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>')

    def svg(self) -> str:
        """The picture as an SVG element."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif">'
            f"<title>{escape(self._title)}</title>{''.join(self._marks)}</svg>"
        )

    def _frame(self, x_label: str, y_label: str) -> None:
        left, bottom = self.at(self._x[0], self._y[0])
        right, top = self.at(self._x[1], self._y[1])
        self._marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'fill="none" stroke="{GREY}" stroke-width="0.8"/>'
        )
        for tick in ticks(self._x):
            u, _ = self.at(tick, self._y[0])
            self._marks.append(f'<text x="{u:.1f}" y="{bottom + 16:.1f}" text-anchor="middle" font-size="11">{tick:g}</text>')
            self._marks.append(f'<path d="M{u:.1f} {bottom:.1f}v4" stroke="{GREY}"/>')
        for tick in ticks(self._y):
            _, v = self.at(self._x[0], tick)
            self._marks.append(f'<text x="{left - 8:.1f}" y="{v + 4:.1f}" text-anchor="end" font-size="11">{tick:g}</text>')
            self._marks.append(f'<path d="M{left:.1f} {v:.1f}h-4" stroke="{GREY}"/>')
        middle, across = (left + right) / 2, (top + bottom) / 2
        self._marks.append(
            f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle" font-size="12">{escape(x_label)}</text>'
            f'<text x="14" y="{across:.1f}" text-anchor="middle" font-size="12" '
            f'transform="rotate(-90 14 {across:.1f})">{escape(y_label)}</text>'
        )


def ticks(ends: Range) -> list[float]:
    """Four to eight round numbers within a range."""
    span = ends[1] - ends[0]
    power = 10.0
    while power > span / 4:
        power /= 10.0
    while power * 10 <= span / 4:
        power *= 10.0
    step = next(s * power for s in (1, 2, 5, 10) if span / (s * power) <= 8)
    first = -(-ends[0] // step)
    return [round((first + n) * step, 10) for n in range(int(span / step) + 2) if (first + n) * step <= ends[1] + 1e-9 * span]


def _opened(ends: Range) -> Range:
    return ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[0] + 0.5)


def count_scatter(pairs: Sequence[tuple[int, int]], what: str) -> str:
    """Reference against run; the area of a dot grows with the number of studies in it."""
    top = float(max((max(p) for p in pairs), default=5)) + 0.5
    axes = Axes((-0.5, top), (-0.5, top), f"{what}, reference", f"{what}, run", title=f"{what}: reference against run")
    axes.line([(-0.5, -0.5), (top, top)], GREY, dashed=True)
    for (a, b), n in sorted(Counter(pairs).items()):
        axes.dot(a, b, BLUE, radius=2.5 + 2.0 * n**0.5, label=f"reference {a}, run {b}: {n} studies")
    return axes.svg()


def bland_altman(pairs: Sequence[tuple[int, int]], limits: tuple[float, float, float] | None, what: str) -> str:
    """Difference against mean; limits: bias, lower and upper limit of agreement."""
    points = Counter(((a + b) / 2, b - a) for a, b in pairs)
    widest = max([abs(d) for _, d in points] + [abs(v) for v in limits or ()] + [1.0]) * 1.15
    right = max([m for m, _ in points] + [5.0]) * 1.05
    axes = Axes((0.0, right), (-widest, widest), f"{what}, mean of both", "run - reference", title=f"{what}: Bland-Altman")
    axes.line([(0, 0), (right, 0)], GREY)
    for value, dashed in zip(limits or (), (False, True, True), strict=False):
        axes.line([(0, value), (right, value)], ORANGE, dashed=dashed)
    for (mean, difference), n in sorted(points.items()):
        axes.dot(mean, difference, BLUE, radius=2.5 + 2.0 * n**0.5, label=f"mean {mean:g}, difference {difference:g}: {n}")
    return axes.svg()


def reliability(bins: Sequence[tuple[int, float, float]], what: str) -> str:
    """bins: (n, mean probability, observed frequency)."""
    axes = Axes((0.0, 1.0), (0.0, 1.0), "predicted probability", "observed frequency", title=f"{what}: reliability")
    axes.line([(0, 0), (1, 1)], GREY, dashed=True)
    axes.line([(p, y) for _, p, y in bins], BLUE)
    most = max((n for n, _, _ in bins), default=1)
    for n, p, y in bins:
        axes.dot(p, y, BLUE, radius=3.0 + 5.0 * (n / most) ** 0.5, label=f"{n} cases: predicted {p:.2f}, observed {y:.2f}")
    return axes.svg()


def froc(points: Sequence[tuple[float, float]]) -> str:
    """points: (false positives a patient, sensitivity)."""
    right = max([x for x, _ in points] + [1.0])
    axes = Axes((0.0, right), (0.0, 1.0), "false positives per patient", "sensitivity", title="FROC")
    axes.line(list(points), BLUE)
    for x, y in points:
        axes.dot(x, y, BLUE, radius=2.0, label=f"{x:.2f} false positives a patient, sensitivity {y:.2f}")
    return axes.svg()


def intervals(rows: Sequence[tuple[str, float, float, float, int]], what: str) -> str:
    """rows: (name, value, low, high, n); a value with its interval a line, top to bottom. Intervals may be NaN."""
    height, name_width = 24 * len(rows) + 46, 150
    right = WIDTH - 52

    def across(value: float) -> float:
        return name_width + value * (right - name_width)

    marks = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        u = across(tick)
        marks.append(f'<path d="M{u:.1f} 6V{height - 36}" stroke="#dddddd"/>')
        marks.append(f'<text x="{u:.1f}" y="{height - 20}" text-anchor="middle" font-size="11">{tick:g}</text>')
    for row, (name, value, low, high, n) in enumerate(rows):
        v = 20 + 24 * row
        marks.append(f'<text x="{name_width - 10}" y="{v + 4}" text-anchor="end" font-size="12">{escape(name)}</text>')
        marks.append(f'<text x="{WIDTH - 4}" y="{v + 4}" text-anchor="end" font-size="11" fill="{GREY}">n={n}</text>')
        if isfinite(low) and isfinite(high):
            marks.append(f'<path d="M{across(low):.1f} {v}H{across(high):.1f}" stroke="{BLUE}" stroke-width="2"/>')
        marks.append(f'<circle cx="{across(value):.1f}" cy="{v}" r="4.5" fill="{BLUE}"><title>{value:.2f}</title></circle>')
    middle = across(0.5)
    marks.append(f'<text x="{middle:.1f}" y="{height - 4}" text-anchor="middle" font-size="12">{escape(what)}</text>')
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="sans-serif">'
        f"<title>{escape(what)}</title>{''.join(marks)}</svg>"
    )
