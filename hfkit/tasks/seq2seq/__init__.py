"""Text to text by an encoder-decoder: translation, summaries, and answers written instead of pointed at."""
