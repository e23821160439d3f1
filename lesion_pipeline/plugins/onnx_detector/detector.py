"""The plug-in: PET and CT as the contract wants them, tile by tile through the network, back to the PET's voxels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.model_input import AIR_HU, model_input, needed
from lesion_pipeline.imaging.probability_map import candidates_of
from lesion_pipeline.plugins.onnx_detector.network import Network, found, sha256_of
from lesion_pipeline.plugins.onnx_detector.options import ChannelRule, Options, read_contract
from lesion_pipeline.plugins.onnx_detector.tiles import Image, blended, window


class OnnxDetector:
    """Entry point ``onnx`` of lesion_pipeline.lesion_detectors. ``facts`` says for provenance what was run."""

    name = "onnx"
    version = lesion_pipeline.__version__

    def __init__(self, options: Options) -> None:
        """Loads the model, so that what is missing or wrong is said before a study is read.

        Raises PluginNotFoundError (WEIGHTS_ABSENT, ONNXRUNTIME_ABSENT), ConfigError (WEIGHTS_DIFFER, ONNX_CONTRACT_ABSENT),
        PluginContractError (BAD_ONNX_CONTRACT, ONNX_DIFFERS) and PluginFailedError (BAD_ONNX).
        """
        self._options = options
        path = found(options)
        self._contract = contract = read_contract(path.with_suffix(".toml"))
        self._network = Network(path, contract, options.threads)
        self._images = tuple(rule.image for rule in contract.channels)
        self.needs: frozenset[Modality] = needed(self._images)
        self.facts: Mapping[str, object] = {
            "model": contract.name,
            "model_version": contract.version,
            "licence": contract.licence,
            "channels": list(self._images),
            "sha256": sha256_of(path),
        }

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the PET's own grid with the network's probability, surest first.

        Raises InputError (NO_PET, NO_CT), FrameMismatchError, ConfigError (GRID_WITHOUT_IMAGE) and PluginContractError
        (ONNX_DIFFERS).
        """
        options, contract = self._options, self._contract
        given = model_input(study, self._images, contract.grid, contract.orientation, contract.spacing_mm)
        rules = contract.channels
        image = np.stack([_normalised(values, rule) for values, rule in zip(given.values, rules, strict=True)])
        outside = [_normalised(np.array([AIR_HU if rule.image == "CT" else 0.0], dtype=np.float32), rule)[0] for rule in rules]
        weight = window(contract.patch, options.blending)
        fill = np.array(outside, dtype=np.float32)
        lesion = blended(image, self._network.lesion, weight=weight, step=options.step, fill=fill)
        return candidates_of(lesion, given.grid, study, options.candidates, self.name)


def _normalised(values: Image, rule: ChannelRule) -> Image:
    clipped = np.clip(values, rule.clip_low, rule.clip_high)
    return np.asarray((clipped - rule.subtract) / rule.divide, dtype=np.float32)


def factory(options: Mapping[str, object]) -> OnnxDetector:
    """Built from the preset's table [plugins.onnx]."""
    return OnnxDetector(Options.model_validate(dict(options)))
