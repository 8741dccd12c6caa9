"""Models: a name or a folder -> a checked model and tokenizer. torch and transformers are imported on call only."""

from hfkit.models.checkpoint import Checkpoint
from hfkit.models.families import VERIFIED, continues_text, fills_in_words, max_positions
from hfkit.models.find import find, locate
from hfkit.models.load import load_model
from hfkit.models.save import save_model
from hfkit.models.scratch import SHAPES, build_scratch
from hfkit.models.tokenizer import load_config, load_tokenizer
from hfkit.models.vocabulary import check_vocabulary, special_texts, unknown_share, unused_embeddings

__all__ = [
    "SHAPES",
    "VERIFIED",
    "Checkpoint",
    "build_scratch",
    "check_vocabulary",
    "continues_text",
    "fills_in_words",
    "find",
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
