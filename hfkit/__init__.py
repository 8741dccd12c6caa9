"""hfkit: fine-tune, score and use BERT- and GPT-2-family models in one command."""

__version__ = "0.1.0"
