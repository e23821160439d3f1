"""Every known answer there is, in one table: geometry, transfer syntaxes, SUV, and broken or odd studies.

    python scripts/conformance.py [--in-process] [--no-suv]

Geometry: 31 volumes on which dcm2niix and an independent loader agree must come out voxel for voxel and affine for affine.
Transfer syntaxes: one image in nine of them must decode equal. Bad inputs: 52 small studies must be counted right or refused by
the code that cases.json names; by default each runs through the installed command in a process of its own, and time, memory,
tracebacks, stray files and changes of the input count as failures.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np

from lesion_pipeline import config, pipeline
from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.io.dicom.building import build_stacks
from lesion_pipeline.io.dicom.reader import DicomReader, SliceRef
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.report import count_json
from lesion_pipeline.stages import assemble

nibabel: Any = untyped_nibabel  # its functions carry no types

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".cache" / "shared-data"
Row = tuple[str, int, int, str]

SECONDS, BYTES = 30.0, 2 << 30
REACH_MM, SUV_SHARE = 4.0, 0.03
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def files_in(folder: Path) -> list[Path]:
    """All regular files below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def canonical_volumes(folder: Path) -> Iterator[tuple[str, tuple[int, ...], Any, str]]:
    """(SeriesInstanceUID, shape, RAS affine, sha256 of float32) of every stack that can be read, in closest-to-RAS order."""
    with DicomReader(files_in(folder)) as reader:
        for stack in build_stacks(reader.scan().records, reader.hashes):
            if stack.refusal or stack.affine is None:
                continue
            values = reader.decode([s.ref for s in stack.slices], stack.key).values
            turn = nibabel.orientations.io_orientation(_RAS @ stack.affine)
            turned = nibabel.orientations.apply_orientation(values, turn)
            affine = _RAS @ stack.affine @ nibabel.orientations.inv_ornt_aff(turn, values.shape)
            digest = hashlib.sha256(np.ascontiguousarray(turned, dtype=np.float32).tobytes()).hexdigest()
            yield stack.head.series_uid, turned.shape, affine, digest


def geometry(cache: Path) -> Row:
    """must_match.json: sha256 of all voxels and the affine within 0.01 mm."""
    wanted = json.loads((cache / "geometry" / "must_match.json").read_text(encoding="utf-8"))
    missed = []
    for name in sorted({w["set"] for w in wanted}):
        made = list(canonical_volumes(cache / "geometry" / name))
        for want in (w for w in wanted if w["set"] == name):
            affine = np.array(want["canonical_affine"])
            if not any(
                digest == want["sha256_f32_canonical"]
                and list(shape) == want["canonical_shape"]
                and np.abs(found - affine).max() < 0.01
                for _, shape, found, digest in made
            ):
                missed.append(want["nifti"])
    return "geometry: volumes equal to dcm2niix", len(wanted) - len(missed), len(wanted), ", ".join(missed)


def transfer_syntaxes(cache: Path) -> Row:
    """One image in nine encodings has one hash of stored values."""
    with DicomReader(files_in(cache / "geometry" / "mr_ts_transfer_syntaxes")) as reader:
        records = reader.scan().records
        hashes = []
        for record in records:
            try:
                hashes += reader.hashes([SliceRef(record, 0, 1.0, 0.0)])
            except LesionPipelineError as error:
                hashes.append(error.code)
    usual = max(set(hashes), key=hashes.count)
    odd = [r.syntax for r, h in zip(records, hashes, strict=True) if h != usual]
    return "transfer syntaxes that decode equal", hashes.count(usual), len(hashes), ", ".join(odd)


@dataclass(slots=True)
class Outcome:
    """What a run did: refusal code or "", codes of its caveats, lesions as (LPS mm, SUVmax), and anything that must not be."""

    refusal: str = ""
    codes: set[str] = field(default_factory=set)
    lesions: list[tuple[tuple[float, ...], float]] = field(default_factory=list)
    problem: str = ""


def _from_document(document: dict[str, Any]) -> Outcome:
    lesions = [(tuple(lesion["centroid_lps_mm"]), float(lesion["suv_max"] or 0)) for lesion in document["lesions"]]
    return Outcome(codes={c["code"] for c in document["caveats"]}, lesions=lesions)


def in_process() -> Callable[[Path], Outcome]:
    """A runner that calls the pipeline here."""
    conf = config.load()
    plugins = pipeline.load_plugins(conf)

    def run(source: Path) -> Outcome:
        try:
            result = pipeline.run(source, conf, plugins, Recorder("study"))
        except LesionPipelineError as error:
            return Outcome(refusal=error.code)
        document: dict[str, Any] = json.loads(count_json.dumps(count_json.count_json(result)))
        return _from_document(document)

    return run


def tree_hash(folder: Path) -> str:
    """Names, sizes and contents of everything below a folder."""
    digest = hashlib.sha256()
    for path in files_in(folder):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cpu_seconds() -> float:
    """CPU time of all children so far: what a limit means on a machine that others use too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_command(source: Path) -> Outcome:
    """A runner that calls the installed command, and holds it to its limits."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "cwd"
        work.mkdir()
        before = tree_hash(source)
        command = [str(Path(sys.executable).with_name("lesion-pipeline")), "run", str(source), "--json"]
        start = _cpu_seconds()
        made = subprocess.run(
            [*command, "--out", str(Path(scratch) / "out")],
            capture_output=True, text=True, cwd=work, timeout=10 * SECONDS, check=False,
            env=os.environ | {"TMPDIR": scratch, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"},
        )  # fmt: skip
        seconds = _cpu_seconds() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        try:
            answer = json.loads(made.stdout)
        except ValueError:
            return Outcome(problem=f"exit {made.returncode}, no JSON: {made.stderr[-200:]}")
        out = Outcome(refusal=answer["code"]) if answer["status"] != "done" else _from_document(answer["count"])
        wrong = {
            f"exit {made.returncode}": made.returncode != (1 if out.refusal else 0),
            "traceback": "Traceback" in made.stderr,
            f"{seconds:.0f} s": seconds > SECONDS,
            f"{peak >> 20} MiB": peak > BYTES,
            "input changed": tree_hash(source) != before,
            "stray files": sorted(p.name for p in Path(scratch).iterdir()) not in (["cwd"], ["cwd", "out"])
            or any(work.iterdir()),
            "output of a refused study": bool(out.refusal) and (Path(scratch) / "out").exists(),
        }
        out.problem = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
        return out


def _balls_in_images(source: Path, balls: list[list[float]]) -> str:
    """For studies without PET: does every ball stand out where it was put?"""
    found = assemble.run(source, config.load().settings.assemble)
    volumes = [s.volume for s in found.series if s.chosen and s.volume is not None]
    for volume in volumes:
        usual = float(np.median(volume.values))
        spread = float(volume.values.max()) - usual
        for ball in balls:
            i, j, k = np.rint(volume.grid.index(ball[:3])).astype(int)
            if volume.values[i, j, k] < usual + 0.3 * spread:
                return f"no ball at {ball[:3]} in {volume.series}"
    return "" if volumes else "no image was read"


def judge(case: dict[str, Any], balls: list[list[float]], source: Path, outcome: Outcome) -> str:
    """What is wrong with an outcome, "" when it is as cases.json says."""
    if outcome.problem:
        return outcome.problem
    if case["expect"].startswith("refuse"):
        return "" if outcome.refusal == case["code"] else f"expected {case['code']}, got {outcome.refusal or 'an answer'}"
    if outcome.refusal:
        return f"refused: {outcome.refusal}"
    unsaid = case["expect"] == "ok_warn" and case["code"] not in outcome.codes
    if unsaid:
        return f"no caveat {case['code']}"
    if not (source / "PT").is_dir() and not any(source.glob("*.zip")):
        return _balls_in_images(source, balls)
    return _lesions_are_balls(outcome, balls, case.get("suv_scale", 1.0))


def _lesions_are_balls(outcome: Outcome, balls: list[list[float]], scale: float) -> str:
    if len(outcome.lesions) != len(balls):
        return f"{len(outcome.lesions)} lesions"
    for x, y, z, suv in balls:
        near = [s for centre, s in outcome.lesions if np.linalg.norm(np.subtract(centre, (x, y, z))) <= REACH_MM]
        if len(near) != 1 or abs(near[0] / (suv * scale) - 1) > SUV_SHARE:
            return f"ball of SUV {suv * scale:.2f} at {x, y, z}: found {near}"
    return ""


def bad_inputs(cache: Path, run: Callable[[Path], Outcome], tell: Callable[[str], None] = lambda _: None) -> Row:
    """The 52 studies against cases.json."""
    table = json.loads((cache / "bad_inputs" / "cases.json").read_text(encoding="utf-8"))
    wrong = []
    for case in table["cases"]:
        source = cache / "bad_inputs" / case["id"]
        verdict = judge(case, table["lesions_lps_mm"], source, run(source))
        tell(f"  {case['id']:45} {verdict or 'as expected'}")
        if verdict:
            wrong.append(f"{case['id']} ({verdict})")
    total = len(table["cases"])
    return "bad inputs handled as specified", total - len(wrong), total, "; ".join(wrong)


def suv_rows() -> list[Row]:
    """Rows of conformance_suv.py."""
    spec = importlib.util.spec_from_file_location("conformance_suv", Path(__file__).with_name("conformance_suv.py"))
    assert spec is not None  # noqa: S101  (it lies beside this file)
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: list[Row] = list(module.rows())
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-process", action="store_true", help="call the pipeline here instead of the command")
    parser.add_argument("--no-suv", action="store_true", help="leave the SUV rows out")
    parser.add_argument("--verbose", action="store_true", help="one line a case")
    options = parser.parse_args()
    for name in ("geometry", "bad_inputs"):
        subprocess.run([sys.executable, str(SHARED / "unpack"), str(CACHE), name], check=True, capture_output=True)
    runner = in_process() if options.in_process else by_command
    rows = [geometry(CACHE), transfer_syntaxes(CACHE)]
    rows.append(bad_inputs(CACHE, runner, print if options.verbose else lambda _: None))
    if not options.no_suv:
        rows += suv_rows()
    for name, passed, total, note in rows:
        print(f"{name:60} {passed:4}/{total:<4} {'' if passed == total else note}")
    return 0 if all(passed == total for _, passed, total, _ in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
