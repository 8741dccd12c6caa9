"""The task lm: running text, by the objective that suits the model; what the table of tasks names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from hfkit.tasks.base import Resolution, Row
from hfkit.tasks.lm.causal import CausalLanguageModel
from hfkit.tasks.lm.masked import MaskedLanguageModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from hfkit.tasks.base import Task


class LanguageModel(CausalLanguageModel):
    """lm before its model is known; then causal, or masked where `suited` says so."""

    def suited(self, config: Mapping[str, Any]) -> Task:
        """The task by the objective of the recipe, or that of the model; `config` is its config.json."""
        from hfkit.models import fills_in_words

        objective = self.settings.objective
        if objective == "auto":
            decoder = bool(config.get("is_decoder"))
            objective = "masked" if fills_in_words(str(config.get("model_type")), is_decoder=decoder) else "causal"
        if objective == "masked":
            return MaskedLanguageModel(self.settings)
        return self

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Self, list[Resolution]]:
        """Without a model the settings alone say the objective."""
        if config is None and self.settings.objective == "masked":
            return cast("tuple[Self, list[Resolution]]", MaskedLanguageModel(self.settings).adopt(rows, None))
        return super().adopt(rows, config)

    def definitions(self) -> dict[str, str]:
        """Of both objectives as long as it may be either."""
        found = super().definitions()
        if self.settings.objective == "causal" or self.settings.scorer != "text":
            return found
        both = [MaskedLanguageModel(self.settings, exact=exact).definitions() for exact in (False, True)]
        return {**(found if self.settings.objective == "auto" else {}), **both[0], **both[1]}
