"""What hfkit knows of model families: which are verified, how each names its dropouts, how many positions it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# tests/models/test_families.py compares each of these with plain transformers; others work, unproven
VERIFIED = (
    "albert",
    "bert",
    "camembert",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "gpt2",
    "modernbert",
    "roberta",
    "xlm-roberta",
)

# encoder-decoders, compared likewise by tests/engine/test_encoder_decoder.py; their batches are padded
ENCODER_DECODERS = ("bart", "m2m_100", "marian", "mbart", "t5")

# of these tests/engine/test_packing.py proves that packed rows give what padded batches give; the others are padded
PACKED = tuple(family for family in VERIFIED if family != "deberta-v2")  # which has its own attention

# the heads that engine/heads.py knows, and so the families that can be pooled in another way than their own
POOLED = VERIFIED
POOLINGS = ("cls", "mean", "max", "last")
POOLING_KEY = "hfkit_pooling"  # of config.json: a pooling that transformers does not do for the family

# these number positions from pad_token_id + 1, so that many rows of the position table are never used (514 -> 512)
OFFSET_POSITIONS = (
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)

# these look at distances between tokens, so that `max_positions` is what they were trained on, not a limit
RELATIVE_POSITIONS = ("longt5", "mt5", "switch_transformers", "t5", "udop", "umt5")

# decoders whose own pair template puts nothing between the two texts
PLAIN_PAIRS = ("gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj")

HIDDEN_DROPOUTS = (
    "hidden_dropout_prob",  # bert, roberta, electra, albert, deberta
    "hidden_dropout",
    "dropout",  # distilbert, bart
    "resid_pdrop",  # gpt2
    "embd_pdrop",
    "resid_dropout",  # gpt_neo
    "embed_dropout",
    "embedding_dropout",  # modernbert
    "mlp_dropout",
)
# dropouts of a head follow the hidden one; None in a config already means "as hidden"
HEAD_DROPOUTS = (
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
    "qa_dropout",
    "pooler_dropout",
    "cls_dropout",
    "summary_first_dropout",
    "summary_last_dropout",
)
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")

UNBOUNDED = 512  # positions used for models whose config names no limit, such as xlnet


def own_pooling(config: PretrainedConfig) -> str:
    """The token, or the mean, that the family's own classification head looks at."""
    return "last" if config.model_type == "gpt2" else getattr(config, "classifier_pooling", None) or "cls"


def fills_in_words(model_type: str, *, is_decoder: bool = False) -> bool:
    """Whether models of this type read both ways and have a head for masked words: BERT and its kin."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as HEADS

    return not is_decoder and str(HEADS.get(model_type, "")).endswith("ForMaskedLM")


def continues_text(model_type: str, *, is_decoder: bool = False) -> bool:
    """Whether models of this type have a head for the next token and do not see it before."""
    from transformers.models.auto import modeling_auto as tables

    two_way = model_type in tables.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not is_decoder
    return model_type in tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not two_way


def unverified_note(model_type: str) -> str | None:
    """The line to show for an architecture without a parity test; None for a verified one."""
    if model_type in (*VERIFIED, *ENCODER_DECODERS):
        return None
    known = ", ".join((*VERIFIED, *ENCODER_DECODERS))
    return f"{model_type} is not among the verified families ({known}); it takes the padded path"


def set_dropouts(config: PretrainedConfig, dropout: float | None, attention_dropout: float | None) -> None:
    """Write dropouts into `config` under the names its family uses. Raises UsageError when it has no such setting."""
    _set(config, "dropout", dropout, HIDDEN_DROPOUTS, HEAD_DROPOUTS)
    _set(config, "attention_dropout", attention_dropout, ATTENTION_DROPOUTS, ())


def dropouts_of(config: PretrainedConfig) -> tuple[float | None, float | None]:
    """The hidden and the attention dropout of a model; None for what it has no setting of."""
    hidden, attention = (
        next((float(value) for name in names if (value := getattr(config, name, None)) is not None), None)
        for names in (HIDDEN_DROPOUTS, ATTENTION_DROPOUTS)
    )
    return hidden, attention


def _set(config: PretrainedConfig, key: str, value: float | None, main: tuple[str, ...], also: tuple[str, ...]) -> None:
    if value is None:
        return
    present = [name for name in main if hasattr(config, name)]
    if not present:
        raise UsageError(
            f"{key}: models of type {config.model_type} have no such setting", f"leave `{key}` out of the recipe"
        )
    for name in [*present, *(name for name in also if hasattr(config, name))]:
        setattr(config, name, value)


def has_fixed_positions(config: PretrainedConfig) -> bool:
    """Whether an input that is longer than `max_positions` cannot be read; T5's relative positions have no end."""
    return config.model_type not in RELATIVE_POSITIONS


def max_positions(config: PretrainedConfig) -> int:
    """The tokens, special ones included, that fit into one input: RoBERTa's 514 rows of positions hold 512 tokens."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not isinstance(found, int) or found <= 0:
        return UNBOUNDED
    if config.model_type in OFFSET_POSITIONS:
        pad = getattr(config, "pad_token_id", None)
        return int(found - (1 if pad is None else pad) - 1)
    return found
