"""A small model that turns words into vectors, without a network: the static embeddings in the wheel of *wordllama*.

Each of 32,000 tokens has a vector of 256 numbers; the vector of a text is the mean of those of its tokens. The order of words is lost,
but it takes 20 microseconds a text, no GPU, and 16 MB. In an application, embed with the model that your data was embedded with.

`make example` puts the wheel's content to where MODEL says; only its two data files are read, its code is not run.
"""

import pathlib

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DIMENSIONS = 256


class Model:
    def __init__(self, folder):
        files = pathlib.Path(folder) / "wordllama"
        self.vectors = load_file(files / "weights/l2_supercat_256.safetensors")["embedding.weight"].astype(np.float32)
        self.tokenizer = Tokenizer.from_file(str(files / "tokenizers/l2_supercat_tokenizer_config.json"))

    def embed(self, texts):
        """A row for each text. A text without any word has no direction: it is refused."""
        rows = np.empty((len(texts), DIMENSIONS), np.float32)
        for row, text, tokens in zip(rows, texts, self.tokenizer.encode_batch(texts, add_special_tokens=False)):
            if not text.strip():
                raise ValueError("a text without words cannot be embedded")
            row[:] = self.vectors[tokens.ids].mean(axis=0)
        return rows
