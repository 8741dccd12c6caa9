"""Choosing by likelihood: the keys of a prompt and its choices, how rows become prompts, and the task."""

from hfkit.tasks.choice.settings import ChoiceSettings
from hfkit.tasks.choice.task import Choice

__all__ = ["Choice", "ChoiceSettings"]
