from __future__ import annotations

import io
import json
from datetime import datetime

from rich.console import Console

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.pet import PatientFacts, PetFacts, ReferenceTime, SuvCalibration, SuvStatus, Tracer
from lesion_pipeline.domain.study import Assembly, CtFacts, MrFacts, RealWorldMap, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.report.inspection import inspection_json, inspection_table


def assembly() -> Assembly:
    at = datetime(2025, 3, 1, 11, 0)
    suv = SuvCalibration(
        SuvStatus.OK,
        bw_per_unit=4.2111e-4,
        method="dose decayed to the time of series",
        reference_times=(ReferenceTime("series", at), ReferenceTime("first_acquisition", at.replace(minute=2))),
        chosen_reference="series",
        uptake_minutes=62.0,
        other_factors=(("bsa", 1.0e-4),),
        sul_formula="lbm_janmahasatian",
    )
    pet = PetFacts(units="BQML", tracer=Tracer.FDG, corrected_image=("ATTN", "DECY"), decay_correction="START")
    odd = "x\x1b[31m[bold]\n" + "y" * 200
    return Assembly(
        series=(
            Series("RW-1", SeriesRole.OTHER, "RWV", Modality.OTHER, "", 1),
            Series(
                "PT-2",
                SeriesRole.REJECTED,
                "PET NAC",
                Modality.PT,
                odd,
                24,
                (48, 44, 24),
                (4.0, 4.0, 3.0),
                pet=PetFacts(units="PROPCNTS"),
                suv=SuvCalibration(SuvStatus.REFUSED, code="UNSUPPORTED_UNITS"),
                reason="not attenuation corrected",
                caveats=(Caveat("UNSUPPORTED_UNITS", "calibrate", "values in PROPCNTS cannot be turned into SUV", "PT-2"),),
            ),
            Series(
                "PT-1",
                SeriesRole.PET,
                "PET AC",
                Modality.PT,
                "PET WB",
                24,
                (48, 44, 24),
                (4.0, 4.0, 3.0),
                pet=pet,
                suv=suv,
                chosen=True,
                reason="the only corrected PET",
            ),
            Series(
                "CT-1", SeriesRole.CT, "CT", Modality.CT, "", 9, ct=CtFacts("B30f", 120.0), chosen=True, reason="the only CT"
            ),
            Series(
                "MR-1",
                SeriesRole.MR,
                "T1",
                Modality.MR,
                "",
                20,
                (10, 10, 20),
                (1.0, 1.0, 4.0),
                mr=MrFacts("T1", 0.9),
                chosen=True,
            ),
        ),
        patient=PatientFacts(),
        real_world_maps=(RealWorldMap("{SUVbw}g/ml", 4.2e-4, 0.0, ("PT-1",), "agrees (bw)"),),
        caveats=(
            Caveat("FILES_SKIPPED", "assemble", "2 files are no images"),
            Caveat("UNSUPPORTED_UNITS", "calibrate", "values in PROPCNTS cannot be turned into SUV", "PT-2"),
        ),
        skipped=(("text", 2),),
    )


def test_the_json_holds_what_a_program_asks_for_and_no_date() -> None:
    found = inspection_json(assembly())
    written = json.dumps(found, allow_nan=False)
    assert "2025" not in written
    by_key = {s["key"]: s for s in json.loads(written)["series"]}
    assert by_key["PT-1"]["role"] == "pet"
    assert by_key["PT-1"]["units"] == "BQML"
    assert by_key["PT-1"]["chosen"] is True
    assert by_key["PT-1"]["shape"] == [48, 44, 24]
    assert by_key["PT-1"]["suv"]["status"] == "ok"
    assert by_key["PT-1"]["suv"]["bw_per_unit"] == 4.2111e-4
    assert by_key["PT-1"]["suv"]["reference_times"][1] == {"method": "first_acquisition", "seconds_from_chosen": 120.0}
    assert by_key["PT-2"]["suv"]["code"] == "UNSUPPORTED_UNITS"
    assert by_key["PT-2"]["caveats"][0]["code"] == "UNSUPPORTED_UNITS"
    assert by_key["RW-1"]["suv"] is None
    assert by_key["MR-1"]["mr"]["label"] == "T1"
    assert by_key["PT-2"]["units"] == "PROPCNTS"
    assert by_key["PT-1"]["pet"]["corrections"] == ["ATTN", "DECY"]
    assert by_key["CT-1"]["ct"] == {"kernel": "B30f", "kvp": 120.0, "contrast": None}


def test_header_text_reaches_neither_terminal_nor_json_raw() -> None:
    series = json.loads(json.dumps(inspection_json(assembly())))["series"]
    description = next(s for s in series if s["key"] == "PT-2")["description"]
    assert "\x1b" not in description
    assert "\n" not in description
    assert len(description) <= 64


def test_the_table_says_what_is_used_and_why_not() -> None:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as capture:
        console.print(inspection_table(assembly()))
    text = capture.get()
    for word in ("USED", "rejected", "no SUV: UNSUPPORTED_UNITS", "SUVbw = 0.00042111 x value", "uptake 62 min", "agrees (bw)"):
        assert word in text
    for word in (
        "series +0 s (used)",
        "first acquisition +120 s",
        "corrected for ATTN, DECY",
        "kernel B30f, 120 kV",
        "PROPCNTS",
    ):
        assert word in text
    assert text.count("FILES_SKIPPED") == 1
    assert text.count("UNSUPPORTED_UNITS") == 2  # with the series (SUV and why), not again below
    assert text.index("PT-1") < text.index("PT-2")
    assert "[bold]" in text  # shown as text, not obeyed as markup
