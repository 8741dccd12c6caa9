"""Recipes: typed, frozen, strict. `load` finds and checks one, `dump` writes it back whole."""

from hfkit.recipe.keys import Data, Generate, Recipe, Scratch, Train
from hfkit.recipe.section import Auto, Section, key

__all__ = ["Auto", "Data", "Generate", "Recipe", "Scratch", "Section", "Train", "key"]
