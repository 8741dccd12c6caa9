"""Classification: its keys, what a trained head says of itself, and the task."""

from hfkit.tasks.classify.settings import ClassifySettings
from hfkit.tasks.classify.task import Classify

__all__ = ["Classify", "ClassifySettings"]
