"""[match]: when CT and MR speak for or against a lesion (clinical specification 5)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """[match]"""

    model_config = ConfigDict(frozen=True, extra="forbid")
