"""Time and memory of reading a study, against dcm2niix converting the same folder. Prints a Markdown table.

    python scripts/bench_ingest.py [--repeats 5] [FOLDER ...]

Ours: files found, every header scanned and hashed, series built and chosen, PET and CT (and every MR) in memory as float32;
imports are not counted, for a pipeline imports once. dcm2niix: its whole run with uncompressed output to a folder in memory
where there is one. Runs alternate so that both see the same load; the medians of wall and CPU time are compared. Peak memory is
what a process that does nothing but read the study takes with its children (shared pages counted once) on top of what it had
before, against the float32 volumes it ends with.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import dcm2niix
import psutil

from lesion_pipeline.stages import assemble

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".cache" / "shared-data"


def options() -> assemble.Options:
    """The default preset's own settings."""
    table = tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text(encoding="utf-8"))
    return assemble.Options.model_validate(table["assemble"])


def _cpu() -> float:
    """CPU seconds of this process and its finished children."""
    return sum(
        u.ru_utime + u.ru_stime for u in (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def ours(folder: Path) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, bytes of float32 volumes)."""
    wall, cpu = time.perf_counter(), _cpu()
    found = assemble.run(folder, options())
    spent = time.perf_counter() - wall, _cpu() - cpu
    return *spent, sum(s.volume.values.nbytes for s in found.series if s.volume is not None)


def theirs(folder: Path) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of dcm2niix."""
    memory = Path("/dev/shm")  # noqa: S108  (a scratch folder inside it is made by tempfile)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        wall, cpu = time.perf_counter(), _cpu()
        subprocess.run([dcm2niix.bin, "-z", "n", "-o", scratch, str(folder)], check=False, capture_output=True)
        return time.perf_counter() - wall, _cpu() - cpu


def _memory(process: psutil.Process) -> int:
    """Proportional set size of a process and its children: shared voxels are counted once."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += one.memory_full_info().pss
    return total


def peak(folder: Path) -> int:
    """Bytes that reading takes at its peak, parent and children together, above what they had before; sampled every 2 ms."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import bench_ingest as b\n"
        "print(flush=True); sys.stdin.readline(); b.ours(Path(sys.argv[1])); print(flush=True); sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", script, str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("no pipes")
        child.stdout.readline()
        process = psutil.Process(child.pid)
        before = most = _memory(process)
        child.stdin.write("go\n")
        child.stdin.flush()
        while not select.select([child.stdout], [], [], 0.002)[0]:
            most = max(most, _memory(process))
        most = max(most, _memory(process))
        child.stdin.write("end\n")
    return most - before


def row(folder: Path, repeats: int) -> str:
    """One line of the table."""
    ours(folder)  # warms the file cache for both
    pairs = [(ours(folder), theirs(folder)) for _ in range(repeats)]
    mine, other = (statistics.median(p[n][0] for p in pairs) for n in (0, 1))
    mine_cpu, other_cpu = (statistics.median(p[n][1] for p in pairs) for n in (0, 1))
    volumes = pairs[0][0][2]
    files = sum(len(names) for _, _, names in os.walk(folder))
    return (
        f"| {folder.name} | {files} | {mine:.2f} | {other:.2f} | {mine / other:.2f} | {mine_cpu:.2f} | {other_cpu:.2f} "
        f"| {mine_cpu / other_cpu:.2f} | {volumes / 1e6:.0f} | {peak(folder) / volumes:.2f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", type=Path, help="default: the ACRIN study and the sarcoma study")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folders = arguments.folder
    if not folders:
        names = ("acrin_petct", "sts_001")
        subprocess.run([sys.executable, str(SHARED / "unpack"), str(CACHE), *names], check=True, capture_output=True)
        folders = [CACHE / name for name in names]
    heads = ("study", "files", "ours, s", "dcm2niix, s", "ratio", "ours, CPU s", "dcm2niix, CPU s", "CPU ratio", "volumes, MB")
    print(f"| {' | '.join(heads)} | peak / volumes |")
    print("|---" * (len(heads) + 1) + "|")
    for folder in folders:
        print(row(folder, arguments.repeats), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
