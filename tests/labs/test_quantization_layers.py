"""Layers from names alone, for the picker; and texts of which no token can be scored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.catalog.facts import facts_from_config, facts_from_folder
from core.catalog.known import CONFIGS
from core.errors import BadInput
from core.labs.quantization.layers import chosen_layer, layers_of
from core.labs.quantization.passages import passages

REPOSITORY = Path(__file__).resolve().parents[2]


def test_layers_are_named_from_names_alone() -> None:
    for name, config in CONFIGS.items():
        facts = facts_from_config(name, config, has_chat_template=False, licence=None)
        layers = layers_of(facts)
        assert len({layer["name"] for layer in layers}) == len(layers)
        assert {layer["part"] for layer in layers} == {"attention", "mlp"}
        assert all(layer["depth"] >= 0 for layer in layers)
        assert sum(layer["parameters"] for layer in layers) <= facts.parameters
        assert chosen_layer("", facts).part == "attention"
        assert chosen_layer(layers[-1]["name"], facts).name == layers[-1]["name"]
    story = facts_from_folder(REPOSITORY / "assets/models/story-lm", "story-lm", "bundled")
    titles = [layer["title"] for layer in layers_of(story)[:7]]
    attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    assert titles == [*attention, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    gpt2 = facts_from_config("gpt2", CONFIGS["gpt2"], has_chat_template=False, licence=None)
    assert layers_of(gpt2)[0]["shape"] == [2304, 768]
    assert chosen_layer("h.3.attn.c_attn", gpt2).depth == 3  # as files without the body's name have it


def test_a_text_without_a_token_to_score_is_refused() -> None:
    class Silent:
        bos_token_id = None

        def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [3] if text else []}

    with pytest.raises(BadInput, match="no second token"):
        passages(Silent(), "a", 64, 32)


def test_the_layers_load_no_torch() -> None:
    code = (
        "import sys\nfrom core.labs.quantization.lens import layers_of, look, sweep\n"
        "from core.labs.quantization.script_lens import lines\nassert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=60)
