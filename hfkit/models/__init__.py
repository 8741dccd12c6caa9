"""Models: a name or a folder -> a checked model and tokenizer. torch and transformers are imported on call only."""

from hfkit.models.checkpoint import Checkpoint
from hfkit.models.families import (
    ENCODER_DECODERS,
    VERIFIED,
    continues_text,
    fills_in_words,
    has_fixed_positions,
    max_positions,
)
from hfkit.models.find import find, locate
from hfkit.models.load import fresh_weights, load_model
from hfkit.models.save import save_model
from hfkit.models.scratch import SHAPES, build_scratch
from hfkit.models.tokenizer import load_config, load_tokenizer
from hfkit.models.vocabulary import check_vocabulary, special_texts, unknown_share, unused_embeddings

__all__ = [
    "ENCODER_DECODERS",
    "SHAPES",
    "VERIFIED",
    "Checkpoint",
    "build_scratch",
    "check_vocabulary",
    "continues_text",
    "fills_in_words",
    "find",
    "fresh_weights",
    "has_fixed_positions",
    "load_config",
    "load_model",
    "load_tokenizer",
    "locate",
    "max_positions",
    "save_model",
    "special_texts",
    "unknown_share",
    "unused_embeddings",
]
