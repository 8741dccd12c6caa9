"""Natural-language inference: its keys, what the labels of data and models mean, the row's measures, and the task."""

from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.nli.task import NLI

__all__ = ["NLI", "NLISettings"]
