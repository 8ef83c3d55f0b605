"""Writes a tiny language model for llama.cpp: weights of bigrams, without training. Its text has many scripts in single
bytes, so that every character that is not ASCII is split over tokens.

usage: tiny_gguf.py OUT.gguf LAYERS WIDTH     more layers, and wider ones, make it slower
"""

from __future__ import annotations

import sys
from collections import Counter

import gguf
import numpy as np

TEXT = (
    "The relay keeps each token. A tab that comes late hears it all. Grüße aus Köln, ça va très bien. "
    "日本語の文章、漢字とかな。中文也可以。한국어 문장. 🚀🎉👩‍👩‍👧‍👦 done. עברית العربية हिन्दी. "
    'A "quoted" line\n with a tab\tand breaks. data: [DONE] is text. '
)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZE, HEADS, PAIRS = 512, 4, 2
CONTEXT = 16384
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of tokens

out, layers, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(7)
words = ["▁The", "▁relay", "▁keeps", "▁each", "▁token", "▁A", "▁tab", "▁that", "▁comes", "▁"]
normal = list(dict.fromkeys([*words, *map(chr, range(33, 127))]))
tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *normal, "<|im_start|>", "<|im_end|>"]
kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(normal), CONTROL, CONTROL]
scores = [0.0] * 259 + [-float(10 - min(len(each), 9)) for each in normal] + [0.0, 0.0]
place = {token: number for number, token in enumerate(tokens)}


def tokenize(text: str) -> list[int]:
    """The tokens of a text, the longest words first."""
    found: list[int] = []
    text = text.replace(" ", "▁")
    while text:
        word = next((each for each in sorted(normal, key=len, reverse=True) if text.startswith(each)), None)
        found += [place[f"<0x{byte:02X}>"] for byte in text[0].encode()] if word is None else [place[word]]
        text = text[len(word or "x") :]
    return found


script = tokenize(TEXT)
pairs = Counter(zip(script, [*script[1:], script[0]], strict=True))
pairs.update((place["<0x0A>"], first) for first in tokenize("ATh日"))
logits = np.full((len(tokens), len(tokens)), -6.0, np.float32)
for (before, after), count in pairs.items():
    logits[before, after] = 9 + np.log(count) + random.uniform(0, 3)  # no ties, which noise would decide
embedding = random.standard_normal((len(tokens), SIZE)).astype(np.float32)
embedding /= np.sqrt((embedding**2).mean(1, keepdims=True))
output = (np.linalg.pinv(embedding) @ logits).T

writer = gguf.GGUFWriter(out, "llama")
writer.add_name("tiny")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(SIZE)
writer.add_block_count(layers)
writer.add_feed_forward_length(width)
writer.add_head_count(HEADS)
writer.add_head_count_kv(PAIRS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(SIZE // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_file_type(0)
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores(scores)
writer.add_token_types(kinds)
writer.add_bos_token_id(1)
writer.add_eos_token_id(place["<|im_end|>"])
writer.add_unk_token_id(0)
writer.add_add_bos_token(False)
writer.add_add_space_prefix(False)
writer.add_chat_template(TEMPLATE)


def add(name: str, values: np.ndarray) -> None:
    """Add a tensor."""
    writer.add_tensor(name, np.ascontiguousarray(values.astype(np.float32)))


def noise(rows: int, columns: int, size: float) -> np.ndarray:
    """Weights that say nothing."""
    return random.standard_normal((rows, columns)) * size


add("token_embd.weight", embedding)
add("output.weight", output)
add("output_norm.weight", np.ones(SIZE))
for number in range(layers):
    block = f"blk.{number}."
    for each in ("attn_norm", "ffn_norm"):
        add(f"{block}{each}.weight", np.ones(SIZE))
    add(f"{block}attn_q.weight", noise(SIZE, SIZE, 0.02))
    for each in ("attn_k", "attn_v"):
        add(f"{block}{each}.weight", noise(PAIRS * SIZE // HEADS, SIZE, 0.02))
    add(f"{block}attn_output.weight", noise(SIZE, SIZE, 1e-4))
    for each in ("ffn_gate", "ffn_up"):
        add(f"{block}{each}.weight", noise(width, SIZE, 0.02))
    add(f"{block}ffn_down.weight", noise(SIZE, width, 1e-4))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
