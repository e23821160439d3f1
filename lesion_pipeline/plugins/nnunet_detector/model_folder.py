"""What lies in an nnU-Net v2 model folder: channels, labels, plan, weights and their hash, licence. Nothing is executed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion_pipeline.domain.errors import ConfigError, PluginContractError, PluginNotFoundError
from lesion_pipeline.imaging.model_input import Channel

_CHANNELS: dict[str, Channel] = {
    "ct": "CT",
    "hu": "CT",
    "pet": "SUV",
    "pt": "SUV",
    "suv": "SUV",
    "suvbw": "SUV",
    "petsuv": "SUV",
    "suvpet": "SUV",
}
_LESION = re.compile(r"lesion|tumou?r|metasta|cancer|malign", re.IGNORECASE)
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "license.txt", "license.md")
_GET_IT = "Download and unpack the model, and give its folder (the one that holds plans.json) as plugins.nnunet.model."
#: A licence text is repeated in the provenance up to this length.
_LICENCE_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """heads: (indices of the lesion's output channels, are the outputs regions). sha256: over plans, labels and all weights."""

    path: Path
    plans_name: str
    dataset_name: str
    channels: tuple[Channel, ...]
    lesion_labels: tuple[str, ...]
    heads: tuple[int, ...]
    regions: bool
    folds: tuple[str, ...]
    checkpoint: str
    sha256: str
    licence: str

    @property
    def facts(self) -> Mapping[str, object]:
        """What provenance repeats; no path."""
        return {
            "plans": self.plans_name,
            "dataset": self.dataset_name,
            "channels": list(self.channels),
            "lesion_labels": list(self.lesion_labels),
            "folds": list(self.folds),
            "checkpoint": self.checkpoint,
            "sha256": self.sha256,
            "licence": self.licence or "no licence file lies in the model folder",
        }


def read_model_folder(
    path: Path | None,
    *,
    channels: Sequence[Channel],
    lesion_labels: Sequence[str],
    folds: Sequence[str],
    checkpoint: str,
) -> ModelFolder:
    """Read and hash a model folder.

    Raises PluginNotFoundError (WEIGHTS_ABSENT), PluginContractError (BAD_MODEL_FOLDER) and ConfigError (CHANNELS_UNKNOWN,
    CHANNELS_DIFFER, LESION_LABEL_UNKNOWN).
    """
    if path is None or not (path / "plans.json").is_file() or not (path / "dataset.json").is_file():
        sentence = "the model folder of nnunet holds no plans.json and dataset.json" if path else "no model is named for nnunet"
        raise PluginNotFoundError("WEIGHTS_ABSENT", sentence, advice=_GET_IT)
    dataset, plans = _json(path / "dataset.json"), _json(path / "plans.json")
    found = _folds(path, folds, checkpoint)
    names, heads, regions = _lesion_heads(dataset, lesion_labels)
    weights = [path / f"fold_{fold}" / checkpoint for fold in found]
    return ModelFolder(
        path=path,
        plans_name=str(plans.get("plans_name", "")),
        dataset_name=str(plans.get("dataset_name", dataset.get("name", ""))),
        channels=_channels(dataset, channels),
        lesion_labels=names,
        heads=heads,
        regions=regions,
        folds=found,
        checkpoint=checkpoint,
        sha256=_sha256([path / "dataset.json", path / "plans.json", *weights]),
        licence=_licence(path),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(f"{path.name} cannot be read") from error
    if not isinstance(read, dict):
        raise _broken(f"{path.name} holds no table")
    return read


def _broken(sentence: str) -> PluginContractError:
    return PluginContractError(
        "BAD_MODEL_FOLDER", f"the model folder of nnunet is no nnU-Net v2 model: {sentence}", advice="Download it again."
    )


def _folds(path: Path, wanted: Sequence[str], checkpoint: str) -> tuple[str, ...]:
    there = sorted(p.parent.name.removeprefix("fold_") for p in path.glob(f"fold_*/{checkpoint}"))
    missing = sorted(set(wanted) - set(there))
    if missing or not there:
        what = ", ".join(f"fold_{fold}/{checkpoint}" for fold in missing) or f"fold_*/{checkpoint}"
        raise PluginNotFoundError("WEIGHTS_ABSENT", f"the model folder of nnunet holds no {what}", advice=_GET_IT)
    # a model trained on all cases and its cross-validation are two models; together they would count some cases twice
    single = [fold for fold in there if fold != "all"] or there
    return tuple(wanted) if wanted else tuple(single)


def _channels(dataset: Mapping[str, Any], said: Sequence[Channel]) -> tuple[Channel, ...]:
    """The preset's channels, else what dataset.json calls them, where the names leave no doubt."""
    names = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(names, dict) or not names:
        raise _broken("dataset.json names no channels")
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    if said:
        if len(said) != len(ordered):
            sentence = (
                f"the preset names {len(said)} channels for nnunet, but the model has {len(ordered)}: {', '.join(ordered)}"
            )
            raise ConfigError("CHANNELS_DIFFER", sentence, advice="Set plugins.nnunet.channels in the model's order.")
        return tuple(said)
    known = [_CHANNELS.get(re.sub(r"[^a-z]", "", name.lower())) for name in ordered]
    found = tuple(channel for channel in known if channel is not None)
    if len(found) != len(ordered) or len(set(found)) != len(found):
        raise ConfigError(
            "CHANNELS_UNKNOWN",
            f"the model's channels are called {', '.join(ordered)}, which does not say what is CT and what is SUV",
            advice='Say it in plugins.nnunet.channels, e.g. ["CT", "SUV"], after the model\'s own description.',
        )
    return found


def _lesion_heads(dataset: Mapping[str, Any], said: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """(names, output channels, are outputs regions) of what is a lesion. Region outputs come in the order of dataset.json."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise _broken("dataset.json names no labels")
    foreground = {str(k): v for k, v in labels.items() if str(k) not in ("background", "ignore")}
    wanted = list(said) or [name for name in foreground if _LESION.search(name)]
    unknown = [name for name in wanted if name not in foreground]
    if unknown or not wanted:
        why = f"has no label {', '.join(unknown)}" if unknown else "has no label that is called a lesion"
        raise ConfigError(
            "LESION_LABEL_UNKNOWN",
            f"the model {why}; its labels are {', '.join(foreground)}",
            advice="Name the label of a lesion in plugins.nnunet.lesion_labels.",
        )
    if any(isinstance(v, list) and len(v) > 1 for v in labels.values()):
        order = list(foreground)
        return tuple(wanted), tuple(order.index(name) for name in wanted), True
    values = {name: v[0] if isinstance(v, list) else v for name, v in foreground.items()}
    return tuple(wanted), tuple(int(values[name]) for name in wanted), False


def _sha256(paths: Sequence[Path]) -> str:
    """Hash of the files' own hashes, in the order given: the same for the same model wherever it lies."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _licence(path: Path) -> str:
    """Text of the licence file in the model folder or one of the two folders above it; "" if there is none."""
    for folder in (path, path.parent, path.parent.parent):
        for name in _LICENCES:
            if (folder / name).is_file():
                return (folder / name).read_text(encoding="utf-8", errors="replace")[:_LICENCE_CHARACTERS]
    return ""
