"""What can go wrong, by whose doing, and what the user can do about it.

Every refusal carries a stable ``code`` (SCREAMING_SNAKE_CASE; programs act on it), one sentence that says what is wrong, the
key of the series it is about (a key of ours, never a UID, a name or a path) and ``advice``: what to do. ``batch`` and ``cli``
tell a typed error (the input was refused) from any other exception (a defect of ours).

    LesionPipelineError
    ├── ConfigError                a preset, a rule set, an option
    ├── InputError                 the study itself
    │   ├── IncompleteSeriesError
    │   ├── MissingTagError
    │   └── UnitError
    ├── GeometryError
    │   ├── GridMismatchError
    │   └── FrameMismatchError
    └── PluginError
        ├── PluginNotFoundError
        ├── PluginContractError
        └── PluginFailedError
"""

from __future__ import annotations


class LesionPipelineError(Exception):
    """A refusal with a stable code.

    Parameters
    ----------
    code: stable identifier, e.g. ``MISSING_SLICES``.
    message: one sentence without the code, the series or a full stop.
    series: key of the series concerned, if one is.
    advice: one sentence that says what the user can do.
    stage, subject: set by the recorder on the way up; never by the raiser.
    """

    def __init__(self, code: str, message: str, *, series: str | None = None, advice: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.series = series
        self.advice = advice
        self.stage: str | None = None
        self.subject: str | None = None

    def __str__(self) -> str:
        where = f" (series {self.series})" if self.series else ""
        tail = f" {self.advice}" if self.advice else ""
        return f"{self.code}: {self.message}{where}.{tail}"


class ConfigError(LesionPipelineError):
    """A preset, rule set or option that cannot be used."""


class InputError(LesionPipelineError):
    """A study that cannot be used as it lies there."""


class IncompleteSeriesError(InputError):
    """Slices, frames or pixels are missing."""


class MissingTagError(InputError):
    """A header value that the computation needs is absent or empty."""


class UnitError(InputError):
    """Stored values that cannot be turned into the unit asked for."""


class GeometryError(LesionPipelineError):
    """Positions in space that contradict each other."""


class GridMismatchError(GeometryError):
    """Two arrays that must share a grid do not."""


class FrameMismatchError(GeometryError):
    """Two frames of reference that no transform links."""


class PluginError(LesionPipelineError):
    """A plug-in, named in the message."""


class PluginNotFoundError(PluginError):
    """No plug-in is registered under the name asked for."""


class PluginContractError(PluginError):
    """A plug-in's answer breaks its protocol."""


class PluginFailedError(PluginError):
    """A plug-in raised or died."""
