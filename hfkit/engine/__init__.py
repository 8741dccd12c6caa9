"""The devices: batches, training, answers, decoding, checkpoints. Imports torch and accelerate freely."""
