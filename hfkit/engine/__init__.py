"""The devices: batches, training, answers, decoding, checkpoints. The only package that imports torch and accelerate freely."""
