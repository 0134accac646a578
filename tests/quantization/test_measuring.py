"""What a meter says of a tiny model, against a plain loop over it; that it can be stopped; that nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from core.catalog.catalog import Located
from core.catalog.facts import facts_from_folder
from core.errors import Stopped
from core.quantization.measuring import Meter
from core.quantization.reasons import part_of
from core.runtime.loading import LoadedModel, ModelSpec, load
from core.runtime.placement import Placement
from tests.training.tiny_models import folder_of

PASSAGES = ((1, 5, 6, 7, 8, 9), (1, 10), (1, *range(4, 20)))


def borrowed(folder: Path) -> LoadedModel:
    located = Located("tiny", folder, facts_from_folder(folder), "local")
    spec = ModelSpec("tiny", purpose="measure")
    return load(located, Placement("cpu", "float32", 0, 0, 0, 0, 0, ""), spec=spec)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return borrowed(folder_of(request.param))


def test_predictions_are_those_of_a_plain_pass(loaded: LoadedModel) -> None:
    folder = folder_of("gpt2" if loaded.facts.architecture.startswith("GPT2") else "llama")
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = list(Meter(loaded).predictions(PASSAGES))
    assert [targets.tolist() for _, targets in found] == [list(passage[1:]) for passage in PASSAGES]
    for (logits, _), passage in zip(found, PASSAGES, strict=True):
        with torch.inference_mode():
            expected = plain(torch.tensor([passage])).logits[0, :-1]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
        assert logits.dtype == torch.float32


def test_as_many_passes_as_promised(loaded: LoadedModel) -> None:
    """The prompt is read once for each repeat and once before; each token that follows is a pass of its own."""
    lengths: list[int] = []
    handle = loaded.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, given: lengths.append(given[0].shape[1])
    )
    try:
        speed = Meter(loaded).speed([4, 5, 6], 2)
    finally:
        handle.remove()
    assert lengths.count(3) == 3
    assert lengths.count(1) == 2 + 2 * 16
    assert speed.prompt_tokens == 3
    assert speed.prefill_seconds > 0
    assert speed.decode_seconds > 0


def test_the_profiler_finds_the_products(loaded: LoadedModel) -> None:
    operations = Meter(loaded).operations([4, 5, 6])
    seconds = [took for _, took in operations]
    assert seconds == sorted(seconds, reverse=True)
    assert min(seconds) > 0
    assert {"products", "other"} <= {part_of(name) for name, _ in operations}


def test_a_stopped_meter_makes_no_pass(loaded: LoadedModel) -> None:
    meter = Meter(loaded, cancelled=lambda: True)
    with pytest.raises(Stopped):
        next(meter.predictions(PASSAGES))
    with pytest.raises(Stopped):
        meter.speed([4, 5], 1)


def test_the_model_is_not_changed(loaded: LoadedModel) -> None:
    before = {name: one.clone() for name, one in loaded.model.state_dict().items()}
    meter = Meter(loaded)
    list(meter.predictions(PASSAGES))
    meter.speed([4, 5], 1)
    assert all(one.equal(before[name]) for name, one in loaded.model.state_dict().items())
    assert not loaded.model.training
