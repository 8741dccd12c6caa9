"""What a user asks for: one generator of events a file, read top to bottom."""
