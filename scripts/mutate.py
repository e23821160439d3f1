"""Break a good study at random, many times: the outcome must be the right count or a coded refusal.

    python scripts/mutate.py [--n 500] [--seed 1] [--whole] [STUDY ...]

Each mutation changes one file (a bit, a length, a tag, a value representation, the end of the file) or moves files between
series, and the study is read again: assemble, calibrate and a plain threshold, or the whole pipeline with --whole. The answer
is held against that of the untouched study. Allowed: the same lesions at the same places, a refusal with a code, or other
lesions with a caveat that the untouched study does not have. Forbidden: a traceback, a hang, and other lesions in silence.
Prints one row a kind of mutation.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import cc3d
import numpy as np

from lesion_pipeline import config, pipeline
from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.domain.study import SeriesRole
from lesion_pipeline.io.dicom.elements import RawHeader, read_header
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.stages import assemble, calibrate

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".cache" / "shared-data"

SECONDS = 30
THRESHOLD_SUV, LEAST_VOXELS = 3.0, 3
CENTRE_MM = 4.0

Lesion = tuple[float, float, float, float]
Mutation = Callable[["Study", random.Random], str]


class Hang(BaseException):
    """The time of one case is over; not an Exception, so that nothing swallows it."""


@dataclass(slots=True)
class Study:
    """A scratch copy of a study; files: its DICOM files, hard links to the originals until ``write`` replaces one."""

    folder: Path
    files: list[Path]

    def write(self, path: Path, data: bytes) -> None:
        path.unlink()
        path.write_bytes(data)


def _copy(source: Path, target: Path) -> Study:
    files = []
    for number, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        link = target / f"{number:05d}"
        try:
            os.link(path, link)
        except OSError:
            shutil.copyfile(path, link)
        if path.read_bytes()[128:132] == b"DICM":
            files.append(link)
    return Study(target, files)


def _pick(study: Study, rng: random.Random) -> tuple[Path, bytearray, RawHeader]:
    path = rng.choice(study.files)
    data = bytearray(path.read_bytes())
    return path, data, read_header(bytes(data))


def _body_start(header: RawHeader) -> int:
    return header.pixels[0] if header.pixels else len(header.data)


def flip_header_bits(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(_body_start(header))] ^= 1 << rng.randrange(8)
    study.write(path, bytes(data))
    return "bits flipped in a header"


def flip_pixel_bits(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    if header.pixels is None:  # a structure set has none
        return flip_header_bits(study, rng)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(_body_start(header), len(data))] ^= 1 << rng.randrange(8)
    study.write(path, bytes(data))
    return "bits flipped in pixels"


def cut(study: Study, rng: random.Random) -> str:
    path, data, _ = _pick(study, rng)
    study.write(path, bytes(data[: rng.randrange(len(data))]))
    return "file cut"


def _element(header: RawHeader, rng: random.Random) -> tuple[int, int, int, int]:
    """(tag, start of the element, start of its value, end) of a random top-level element."""
    tag = rng.choice([t for t in header.elements if t >> 16 != 0x7FE0])
    vr, start, end = header.elements[tag]
    head = 12 if vr in {b"OB", b"OW", b"OF", b"OD", b"SQ", b"UC", b"UN", b"UR", b"UT"} else 8
    return tag, start - head, start, end


def delete_tag(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    _, begin, _, end = _element(header, rng)
    study.write(path, bytes(data[:begin] + data[end:]))
    return "tag deleted"


def duplicate_tag(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    _, begin, start, end = _element(header, rng)
    copy = bytearray(data[begin:end])
    if end > start:
        copy[start - begin + rng.randrange(end - start)] ^= 1 << rng.randrange(4)
    study.write(path, bytes(data[:end] + copy + data[end:]))
    return "tag doubled, changed"


def change_value(study: Study, rng: random.Random) -> str:
    """Digits into other digits, everything else into noise."""
    path, data, header = _pick(study, rng)
    _, _, start, end = _element(header, rng)
    value = bytes(data[start:end])
    if re.fullmatch(rb"[0-9.eE+\-\\ \0]+", value):
        data[start:end] = bytes(rng.choice(b"0123456789") if 48 <= c <= 57 else c for c in value)
    else:
        data[start:end] = rng.randbytes(end - start)
    study.write(path, bytes(data))
    return "value changed"


def swap_vr(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    _, begin, _, _ = _element(header, rng)
    data[begin + 4 : begin + 6] = rng.choice([b"UN", b"SQ", b"LO", b"US", b"DS", b"OB", b"FD", b"PN"])
    study.write(path, bytes(data))
    return "VR swapped"


def edit_length(study: Study, rng: random.Random) -> str:
    path, data, header = _pick(study, rng)
    _, _, start, _ = _element(header, rng)
    if rng.random() < 0.5:
        struct.pack_into("<H", data, start - 2, rng.randrange(1 << 16))
    else:
        struct.pack_into("<I", data, start - 4, rng.randrange(1 << 32))
    study.write(path, bytes(data))
    return "length edited"


def lose_file(study: Study, rng: random.Random) -> str:
    rng.choice(study.files).unlink()
    return "file lost"


def overwrite_file(study: Study, rng: random.Random) -> str:
    one, other = rng.sample(study.files, 2)
    study.write(one, other.read_bytes())
    return "file overwritten by another"


def swap_series(study: Study, rng: random.Random) -> str:
    """Two files change their SeriesInstanceUID, or one takes that of a series that is not there."""
    one, other = rng.sample(study.files, 2)
    first, second = bytearray(one.read_bytes()), bytearray(other.read_bytes())
    places = [read_header(bytes(d)).elements[0x0020000E] for d in (first, second)]
    uids = [bytes(d[p[1] : p[2]]) for d, p in zip((first, second), places, strict=True)]
    if uids[0] == uids[1] or len(uids[0]) != len(uids[1]):
        uids[1] = uids[0][:-2] + b"%02d" % rng.randrange(10, 100)
        uids[1] = uids[1][: len(uids[0])]
    first[places[0][1] : places[0][2]] = uids[1]
    study.write(one, bytes(first))
    return "series swapped"


def zero_block(study: Study, rng: random.Random) -> str:
    path, data, _ = _pick(study, rng)
    at = rng.randrange(len(data))
    size = min(512, len(data) - at)
    data[at : at + size] = bytes(size)
    study.write(path, bytes(data))
    return "block of zeros"


MUTATIONS: tuple[Mutation, ...] = (
    flip_header_bits,
    flip_pixel_bits,
    cut,
    delete_tag,
    duplicate_tag,
    change_value,
    swap_vr,
    edit_length,
    lose_file,
    overwrite_file,
    swap_series,
    zero_block,
)


def by_threshold(folder: Path) -> tuple[list[Lesion], set[str]]:
    """Assemble, calibrate, and components of at least three voxels above SUV 3; codes of the caveats."""
    settings = config.load().settings
    found = calibrate.run(assemble.run(folder, settings.assemble), settings.calibrate)
    codes = {c.code for c in found.caveats} | {c.code for s in found.series for c in s.caveats}
    lesions: list[Lesion] = []
    for series in found.chosen(SeriesRole.PET):
        if series.volume is None:
            continue
        hot = series.volume.values >= THRESHOLD_SUV
        labels = cc3d.connected_components(np.asfortranarray(hot), connectivity=26)
        for label in range(1, int(labels.max()) + 1):
            voxels = np.argwhere(labels == label)
            if len(voxels) >= LEAST_VOXELS:
                x, y, z = series.volume.grid.world(voxels.mean(axis=0))
                lesions.append((float(x), float(y), float(z), float(series.volume.values[labels == label].max())))
    return lesions, codes


def by_pipeline() -> Callable[[Path], tuple[list[Lesion], set[str]]]:
    """The whole pipeline; lesions that are not excluded."""
    conf = config.load()
    plugins = pipeline.load_plugins(conf)

    def run(folder: Path) -> tuple[list[Lesion], set[str]]:
        from lesion_pipeline.report import count_json  # noqa: PLC0415  (only this mode needs it)

        result = pipeline.run(folder, conf, plugins, Recorder("study"))
        document: Any = count_json.count_json(result)
        kept = [lesion for lesion in document["lesions"] if lesion["decision"] != "excluded"]
        lesions: list[Lesion] = [(*lesion["centroid_lps_mm"], lesion["suv_max"]) for lesion in kept]
        return lesions, {c["code"] for c in document["caveats"]}

    return run


def same(one: Sequence[Lesion], other: Sequence[Lesion]) -> bool:
    """The same count, each lesion at its place. (A bit flipped inside a lesion changes its SUVmax, and nobody can know.)"""
    if len(one) != len(other):
        return False
    left = list(other)
    for lesion in one:
        near = [m for m in left if np.linalg.norm(np.subtract(m[:3], lesion[:3])) <= CENTRE_MM]
        if not near:
            return False
        left.remove(near[0])
    return True


def _alarm(_: int, __: FrameType | None) -> None:
    raise Hang


@dataclass(slots=True)
class Case:
    """One mutated study: kind of mutation, outcome (right, refused CODE, told CODE, other count, traceback, hang).

    told: other lesions or values, and a caveat that the untouched study does not have.
    """

    number: int
    kind: str
    outcome: str

    @property
    def allowed(self) -> bool:
        return self.outcome.split(" ")[0] in {"right", "refused", "told"}


def one_case(
    source: Path,
    number: int,
    seed: int,
    run: Callable[[Path], tuple[list[Lesion], set[str]]],
    truth: tuple[list[Lesion], set[str]],
) -> Case:
    """Mutate a copy of ``source`` by the given seed and read it."""
    rng = random.Random(f"{seed}/{number}")
    with tempfile.TemporaryDirectory() as scratch:
        study = _copy(source, Path(scratch))
        kind = MUTATIONS[number % len(MUTATIONS)](study, rng)
        before = signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(SECONDS)
        try:
            lesions, codes = run(study.folder)
        except LesionPipelineError as error:
            return Case(number, kind, f"refused {error.code}")
        except Hang:
            return Case(number, kind, "hang")
        except Exception:  # noqa: BLE001  (a defect of ours is an outcome here)
            traceback.print_exc()
            return Case(number, kind, "traceback")
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
    if same(truth[0], lesions):
        return Case(number, kind, "right")
    if codes - truth[1]:
        return Case(number, kind, f"told {', '.join(sorted(codes - truth[1]))}")
    return Case(number, kind, f"other count in silence ({len(lesions)} for {len(truth[0])})")


def table(cases: Sequence[Case]) -> str:
    """One row a kind of mutation, then the refusal codes, then what is forbidden."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        rows[case.kind][case.outcome.split(" ")[0] if case.allowed else "forbidden"] += 1
    lines = [f"{'mutation':30} {'right':>6} {'refused':>8} {'told':>6} {'forbidden':>10}"]
    for kind, counts in sorted(rows.items()):
        lines.append(f"{kind:30} {counts['right']:6} {counts['refused']:8} {counts['told']:6} {counts['forbidden']:10}")
    total = sum(rows.values(), Counter())
    lines.append(f"{'all':30} {total['right']:6} {total['refused']:8} {total['told']:6} {total['forbidden']:10}")
    codes = Counter(c.outcome.removeprefix("refused ") for c in cases if c.outcome.startswith("refused "))
    lines.append("refusals: " + ", ".join(f"{code} {n}" for code, n in codes.most_common()))
    lines += [f"FORBIDDEN case {c.number}: {c.kind}: {c.outcome}" for c in cases if not c.allowed]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="*", type=Path, help="good studies; default: two of ../shared/data")
    parser.add_argument("--n", type=int, default=500, help="mutations of each study")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="the whole pipeline instead of a plain threshold")
    options = parser.parse_args()
    studies = options.study
    if not studies:
        for name in ("bad_inputs", "sts_cropped"):
            subprocess.run([sys.executable, str(SHARED / "unpack"), str(CACHE), name], check=True, capture_output=True)
        studies = [CACHE / "bad_inputs" / "G01_clean_pet", CACHE / "sts_cropped" / "STS_010"]
    run = by_pipeline() if options.whole else by_threshold
    clean = True
    for study in studies:
        truth = run(study)
        cases = [one_case(study, n, options.seed, run, truth) for n in range(options.first, options.first + options.n)]
        print(f"{study.name}: seed {options.seed}, {len(truth[0])} lesions, {options.n} mutations\n{table(cases)}\n")
        clean = clean and all(case.allowed for case in cases)
    return 0 if clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
