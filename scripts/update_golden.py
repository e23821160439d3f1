"""Write the golden count JSON of every table under tests/report/golden/tables, for the schema version of this code.

Run it after a change that is meant to change results, and say so in the changelog under "Changes results". Golden files of
older versions are never rewritten.
"""

from __future__ import annotations

from pathlib import Path

from lesion_pipeline.io import lesion_table
from lesion_pipeline.report import count_json
from lesion_pipeline.report.schema import VERSION, schema_sha256
from lesion_pipeline.stages import tally, verdict

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "report" / "golden"


def main() -> None:
    rules = tally.load_rules(ROOT / "configs" / "counting" / "trial-default.toml")
    criteria = verdict.load_criteria(ROOT / "configs" / "criteria" / "spinal-oligomet.toml")
    folder = GOLDEN / f"lesion-count-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((GOLDEN / "tables").glob("*.csv")):
        table = lesion_table.read(source)
        counts = tally.count(table.lesions, rules)
        answer = verdict.run(counts, None, criteria, table.caveats)
        document = count_json.table_json(counts, answer, table.sha256, table.caveats)
        target = folder / f"{source.stem}.json"
        target.write_text(count_json.dumps(document), encoding="utf-8")
        print(target.relative_to(ROOT))
    print(f"schema {VERSION}: {schema_sha256()}")


if __name__ == "__main__":
    main()
