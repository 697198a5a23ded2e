"""The papers' numbers, copied out by hand: what the shipped recipes are held against (tests/alphadecay/test_presets.py)."""

from __future__ import annotations

# AlphaDecay, table 6: hidden, intermediate, heads, layers, steps; table 1: learning rate, tokens without padding.
LLAMA = {
    "llama_60m": (512, 1376, 8, 8, 10_000, 1e-3, 1e9),
    "llama_135m": (768, 2048, 12, 12, 20_000, 1e-3, 2e9),
    "llama_350m": (1024, 2736, 16, 24, 60_000, 1e-3, 6e9),
    "llama_1b": (2048, 5461, 32, 24, 90_000, 6e-4, 8.9e9),
}
# AlphaDecay, table 1: decay -> scaling ratio (Adam); METHODS section 2: the same for AdamW (table 3) and ViT-tiny (table 5).
ADAM_RATIOS = {1e-5: (0.67, 3.0), 5e-6: (0.67, 5.0), 1e-6: (0.67, 5.0)}
ADAMW_RATIOS = {0.1: (0.67, 5.0), 0.05: (0.67, 5.0), 0.01: (0.67, 5.0)}
VIT_RATIOS = {5e-6: (0.67, 3.0), 1e-6: (0.67, 5.0)}

# Plasticity paper, table 1: hidden, intermediate, vocabulary, context, heads, layers, query groups; table 2: tokens per
# parameter, tokens; tables 4, 5: batch, learning rate, least learning rate. OLMo-2's 16384 is gate and up together.
PLASTICITY = {
    "llama2_0.5b_20x": (1536, 3216, 32_000, 2048, 32, 20, 4, 20, 10e9, 512, 2.5e-4, 2.5e-5),
    "llama2_1b_20x": (2048, 4896, 32_000, 2048, 32, 22, 4, 20, 20e9, 512, 2e-4, 2e-5),
    "llama2_4b_20x": (4096, 7792, 32_000, 2048, 32, 28, 4, 20, 80e9, 1024, 1.5e-4, 1.5e-5),
    "olmo2_1b_20x": (2048, 16_384 // 2, 100_278, 4096, 16, 16, 16, 20, 30e9, 512, 4e-4, 4e-5),
    "olmo2_1b_140x": (2048, 16_384 // 2, 100_278, 4096, 16, 16, 16, 140, 210e9, 512, 4e-4, 0.0),
}
# Plasticity paper, table 3.
DECAYS = {
    "llama2_0.5b_20x": [0, 0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 1.5, 3.0, 10.0],
    "llama2_1b_20x": [0, 0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 1.5, 3.0, 10.0],
    "llama2_4b_20x": [0, 0.1, 1.0],
    "olmo2_1b_20x": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    "olmo2_1b_140x": [0, 0.1, 0.3, 1.0],
}
