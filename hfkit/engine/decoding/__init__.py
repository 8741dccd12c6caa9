"""What decode.py is made of: batches inside models (state.py and its kinds), the next token, new text, what fits."""
