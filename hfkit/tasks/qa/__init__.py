"""Extractive question answering: windows and labels, exact spans, gold texts, and the task that joins them."""
