"""Language modelling: running text to blocks, the causal and the masked objective, and the task that picks one."""

from hfkit.tasks.lm.masked import MaskedLanguageModel
from hfkit.tasks.lm.settings import LanguageModelSettings
from hfkit.tasks.lm.task import LanguageModel

__all__ = ["LanguageModel", "LanguageModelSettings", "MaskedLanguageModel"]
