"""Real answers for docs/validation.md: expert lesion masks, drawn sarcomas, a PET-CT as it comes from a PACS.

    python -m scripts.validation_real --work .cache/validation [--shared .cache/shared-data]

Writes ``real.md`` into the work folder, where ``scripts.validate`` looks for it. Runs that are there are not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Decision, Located
from lesion_pipeline.domain.pet import PatientFacts, SuvCalibration, SuvStatus, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.evaluate import dicom_reads
from lesion_pipeline.evaluate.cohort import run_folders
from lesion_pipeline.evaluate.matching import overlap
from lesion_pipeline.evaluate.reads import Read
from lesion_pipeline.evaluate.reference_reads import read_mask
from lesion_pipeline.evaluate.run_reader import read_run
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins import anatomy_from_file, lesions_from_file
from lesion_pipeline.report import layout
from lesion_pipeline.stages import delineate, localize, match, screen, tally, verdict
from scripts.validation_page import table

ROOT = Path(__file__).resolve().parent.parent
PRESET = "fdg-petct"
#: Values of the organ maps, as their authors name them: key, organ.
ORGANS = {
    1: ("spleen", "spleen"), 2: ("kidneys", "kidney"), 3: ("liver", "liver"), 4: ("urinary_bladder", "bladder"),
    5: ("lungs", "lung"), 6: ("brain", "brain"), 7: ("heart", "heart"), 8: ("stomach", "gastrointestinal"),
    9: ("prostate", "prostate"), 10: ("head_glands", "head_glands"),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=ROOT / ".cache" / "shared-data", help="the sets, unpacked")
    given = parser.parse_args()
    return write(given.work.resolve(), given.shared.resolve())


def write(work: Path, shared: Path) -> int:
    """``real.md``. Returns 1 when a set is not there."""
    missing = [n for n in ("organ_maps", "sts_001", "sts_cropped", "acrin_petct") if not (shared / n).is_dir()]
    if missing:
        print(f"not there: {', '.join(missing)} below {shared}", file=sys.stderr)
        return 1
    text = "\n\n".join([HEAD, experts(shared / "organ_maps"), sarcomas(work, shared), chest(work, shared)])
    work.mkdir(parents=True, exist_ok=True)
    (work / "real.md").write_text(text + "\n", encoding="utf-8")
    print(work / "real.md", "written")
    return 0


HEAD = """## Real answers

Real images, with what their sources say of them; nothing here was simulated.

    python -m scripts.validation_real --work .cache/validation"""


@dataclass(frozen=True)
class ExpertRow:
    """One drawn patient: components of the mask, lesions located, how many an organ each, the count after the rules, INC4."""

    name: str
    drawn: int
    organs: Counter[str]
    count: tuple[int, int, int]
    answer: str


def expert_study(mask: Path, organ_map: Path, names: Path) -> tuple[Study, Anatomy, tuple[Located, ...], config.Config]:
    """A drawn patient on the line: a PET of 5 inside the mask and 1 elsewhere, the drawing believed as it stands."""
    drawn = read_volume(mask, Unit.ARBITRARY, Modality.OTHER, "pet")
    pet = Volume(np.where(drawn.values > 0, np.float32(5.0), np.float32(1.0)), drawn.grid, Unit.SUVBW, Modality.PT, "PT-mask")
    rows = "".join(f"{n}\t{key}\torgan\t{organ}\n" for n, (key, organ) in ORGANS.items())
    names.write_text("index\tname\tkind\torgan\n" + rows, encoding="utf-8")
    conf = config.load(PRESET)
    plugins = conf.settings.plugins
    ct = Volume(np.zeros(drawn.grid.shape, dtype=np.float32), drawn.grid, Unit.HU, Modality.CT, "CT-empty")
    study = Study("S", PatientFacts(), Tracer.FDG, (), pet, ct, suv=SuvCalibration(SuvStatus.OK, bw_per_unit=1.0))
    place = {"path": str(organ_map), "names": str(names), "frame": "pet"}
    segmenter = anatomy_from_file.factory({**plugins["anatomy_from_file"], **place})
    detector = lesions_from_file.factory({**plugins["lesions_from_file"], "path": str(mask), "probability": 1.0})
    anatomy = delineate.run(study, (segmenter,), conf.settings.delineate)
    return study, anatomy, localize.run(detector.detect(study, anatomy), study, anatomy, conf.settings.localize), conf


def expert_row(mask: Path, organ_map: Path) -> ExpertRow:
    """Through the plug-ins that read files and every later stage."""
    with tempfile.TemporaryDirectory() as folder:
        study, anatomy, located, conf = expert_study(mask, organ_map, Path(folder) / "names.tsv")
    findings = match.run(located, study, anatomy, conf.settings.match)
    counts = tally.run(screen.run(findings, study, anatomy, conf.settings.screen), study, anatomy, conf.rules)
    answer = verdict.run(counts, study, conf.criteria, anatomy.caveats, None).answer("INC4")
    organs = Counter(str(one.site.organ) if one.site.organ else "none" for one in located)
    n = counts.lesions
    return ExpertRow(
        mask.name.split("_")[0].upper(), len(located), organs, (n.low, n.best, n.high), str(answer and answer.status)
    )


def experts(folder: Path) -> str:
    """Table of the two drawn patients."""
    rows = []
    for mask in sorted((folder / "lesions").glob("*.nii.gz")):
        patient = "_".join(mask.name.split("_")[:2])
        row = expert_row(mask, next((folder / "maps").glob(f"{patient}*")))
        organs = ", ".join(f"{n} {organ.replace('_', ' ')}" for organ, n in row.organs.most_common())
        low, best, high = row.count
        rows.append([row.name, str(row.drawn), organs, f"{best} ({low} to {high})", row.answer.replace("_", " ")])
    return (
        "### Lesions that experts drew, with the organ map of the same patient\n\n"
        "Lesions are 26-connected components before any merging or splitting; 111 and 4 are right. The maps know ten soft "
        "organs and no bone, so a lesion in bone is given the nearest tissue by name or none. INC4 needs the spine, which the "
        "maps lack: only a count above every limit can be answered.\n\n"
        + table(["patient", "lesions", "organ given", "count under the rules", "INC4"], rows)
    )


def ran(source: Path, out: Path) -> Path | None:
    """The run folder of a study, made where it is not there; None when it was refused."""
    if not run_folders(out):
        command = [
            sys.executable,
            "-m",
            "lesion_pipeline",
            "run",
            str(source),
            "--out",
            str(out),
            "--config",
            PRESET,
            "--quiet",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            print(done.stderr[-600:], file=sys.stderr)
    return next(iter(run_folders(out)), None)


def _only(read: Read, name: str) -> Read:
    return Read(read.key, tuple(x for x in read.lesions if x.id == name), read.maps)


def sarcomas(work: Path, shared: Path) -> str:
    """Contours of three sarcomas against what the run outlines there."""
    whole = dicom_reads.read(next((shared / "sts_001" / "FDG_PET").rglob("mask/*.dcm")), "s")
    cases: list[tuple[str, Path, Read]] = [("sts_001", shared / "sts_001", _only(whole, "GTV_Mass"))]
    for patient in sorted(p.name for p in (shared / "sts_cropped").iterdir() if p.is_dir()):
        mask = shared / "sts_cropped" / patient / "nifti" / "PET_mask.nii.gz"
        cases.append((patient, shared / "sts_cropped" / patient, read_mask(mask, patient)))
    rows, foci = [], []
    for name, source, reference in cases:
        folder = ran(source, work / "real" / name)
        if folder is None:
            rows.append([name, "refused", *["–"] * 6])
            continue
        rows.append([name, *_outline(reference, read_run(folder))])
        foci += _foci(name, folder)
    head = ("study", "drawn ml", "outlined ml", "pieces", "decision (p)", "precision", "recall", "Dice")
    return "\n\n".join(
        [
            "### Soft-tissue sarcomas: outlines on real uptake",
            "Drawn: the gross tumour volume of the sources (on MR and CT, oedema apart), which holds parts without uptake. "
            "Outlined: all reported lesions of the run that touch it. Precision: share of the outlined volume inside the drawn "
            "one; recall: share of the drawn volume that is outlined. A soft-tissue primary is not a metastasis to the rules "
            "without a reader; what matters here is that it is found whole and little else is.",
            table(head, rows),
            "Everything these runs count or leave uncertain:\n\n" + "\n".join(foci),
        ]
    )


def _outline(reference: Read, run: Read) -> list[str]:
    shared = overlap(reference, run)
    reported = [n for n, lesion in enumerate(run.lesions) if lesion.decision is not Decision.EXCLUDED]
    largest = int(np.nanargmax(shared.reference_ml))
    touching = [n for n in reported if shared.shared_ml[largest, n] > 0]
    drawn = float(shared.reference_ml[largest])
    if not touching:
        return [f"{drawn:.0f}", "0", "0", "not found", "–", "0 %", "0.00"]
    outlined, common = float(shared.run_ml[touching].sum()), float(shared.shared_ml[largest, touching].sum())
    main_piece = run.lesions[max(touching, key=lambda n: shared.shared_ml[largest, n])]
    return [
        f"{drawn:.0f}",
        f"{outlined:.0f}",
        str(len(touching)),
        f"{main_piece.decision.value} ({main_piece.probability:.2f})",
        f"{common / outlined:.0%}",
        f"{common / drawn:.0%}",
        f"{2 * common / (outlined + drawn):.2f}",
    ]


def _foci(name: str, folder: Path) -> list[str]:
    document = json.loads(layout.count_json(folder).read_text(encoding="utf-8"))
    out = []
    for row in document["lesions"]:
        if row["decision"] == "excluded":
            continue
        texts = [r["text"] for r in row["reasons"] if r["code"] not in ("UPTAKE", "NOT_ASKED")]
        organ = (row["organ"] or "nowhere named").replace("_", " ")
        out.append(
            f"- {name} {row['id']}, {row['decision']} (p {row['probability']:.2f}): {organ}, {row['volume_ml']:.0f} ml, "
            f"SUVmax {row['suv_max']:.1f}. {'; '.join(texts[:3])}"
        )
    return out or [f"- {name}: nothing"]


def chest(work: Path, shared: Path) -> str:
    """The PET-CT of a chest: both foci, with organ and reasons."""
    folder = ran(shared / "acrin_petct", work / "real" / "acrin_petct")
    head = (
        "### A PET-CT of the chest as it comes from a PACS\n\n"
        "Its description names two foci: a right hilar or lung mass (SUVmax about 42, 63 ml above SUV 4) and an upper focus "
        "(SUVmax about 13.4, 20 ml). What the run reports:"
    )
    if folder is None:
        return head + "\n\nThe study was refused."
    return head + "\n\n" + "\n".join(_by_uptake(_foci("acrin", folder))) + "\n\n" + _criterion(folder)


def _by_uptake(lines: Sequence[str]) -> list[str]:
    return sorted(lines, key=lambda line: -float(line.partition("SUVmax ")[2].partition(". ")[0] or 0))


def _criterion(folder: Path) -> str:
    document = json.loads(layout.count_json(folder).read_text(encoding="utf-8"))
    n = document["counts"]["lesions"]
    status = next((row["status"] for row in document["criteria"] if row["id"] == document["headline"]), "not asked")
    said = str(status).replace("_", " ")
    return f"Count {n['best']} ({n['low']} to {n['high']}); {document['headline']}: {said}."


if __name__ == "__main__":
    sys.exit(main())
