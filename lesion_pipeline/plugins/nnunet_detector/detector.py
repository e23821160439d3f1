"""The plug-in: PET and CT to the network's grid, nnU-Net in a child process, its probability back to the PET's voxels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.model_input import model_input, needed
from lesion_pipeline.imaging.probability_map import candidates_of
from lesion_pipeline.plugins.nnunet_detector import child
from lesion_pipeline.plugins.nnunet_detector.model_folder import read_model_folder
from lesion_pipeline.plugins.nnunet_detector.options import Options


class NnunetDetector:
    """Entry point ``nnunet`` of lesion_pipeline.lesion_detectors. ``facts`` says for provenance what was run."""

    name = "nnunet"
    version = lesion_pipeline.__version__

    def __init__(self, options: Options) -> None:
        """Reads and hashes the model and asks for versions, so that what is missing is said before a study is read.

        Raises PluginNotFoundError (WEIGHTS_ABSENT, NNUNET_ABSENT), PluginContractError (BAD_MODEL_FOLDER) and ConfigError
        (CHANNELS_UNKNOWN, CHANNELS_DIFFER, LESION_LABEL_UNKNOWN, WEIGHTS_DIFFER, NO_PET_CHANNEL).
        """
        self._options = options
        self._model = read_model_folder(
            Path(options.model) if options.model else None,
            channels=options.channels,
            lesion_labels=options.lesion_labels,
            folds=options.folds,
            checkpoint=options.checkpoint,
        )
        if options.sha256 and options.sha256 != self._model.sha256:
            raise ConfigError(
                "WEIGHTS_DIFFER",
                f"the weights of nnunet have the hash {self._model.sha256[:12]}, not the one in the preset",
                advice="Use the model the preset was made for, or state the new hash in plugins.nnunet.sha256.",
            )
        if "SUV" not in self._model.channels:
            raise ConfigError("NO_PET_CHANNEL", "the model of nnunet reads no PET, so it finds no PET lesions")
        self._python = child.interpreter(options)
        self.needs: frozenset[Modality] = needed(self._model.channels)
        self.facts: Mapping[str, object] = {**self._model.facts, **child.versions(self._python)}

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the PET's own grid with the network's probability, surest first.

        Raises InputError (NO_PET, NO_CT), FrameMismatchError, ConfigError (GRID_WITHOUT_IMAGE) and what ``child`` raises.
        """
        options = self._options
        given = model_input(study, self._model.channels, options.grid, options.orientation)
        lesion = child.probability(given.values, given.grid.spacing_mm, self._model, self._python, options)
        return candidates_of(lesion, given.grid, study, options.candidates, self.name)


def factory(options: Mapping[str, object]) -> NnunetDetector:
    """Built from the preset's table [plugins.nnunet]."""
    return NnunetDetector(Options.model_validate(dict(options)))
