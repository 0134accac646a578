"""Models that are borrowed to be measured: loaded anew, nobody else's, and gone when they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.catalog.catalog import Catalog
from core.errors import BadInput, BadModel, Busy, DoesNotFit
from core.runtime.devices import detect_devices
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.loading import load
from core.runtime.placement import Policy, place
from core.runtime.pool import ModelSpec, Pool
from core.runtime.pool_entries import PLANNED_ROWS, own_spec
from core.runtime.schemes import scheme_bytes
from core.runtime.tuned import Tuned, TunedCard
from core.settings import Settings
from tests.runtime.test_pool import FACTS, ONE, Bench
from tests.runtime.test_pool import build as build
from tests.training.tiny_models import folder_of

MEASURE = ModelSpec("a", purpose="measure", dtype="float32")


def test_each_lease_loads_anew_and_leaves_nothing_behind(build: Callable[..., Bench]) -> None:
    bench = build()
    for _ in range(2):
        with bench.pool.lease(MEASURE) as loaded:
            assert loaded.spec.purpose == "measure"
        assert loaded.model is None
        assert bench.pool.snapshot() == ()
    assert len(bench.loader.loads) == 2


def test_two_at_once_have_one_each(build: Callable[..., Bench]) -> None:
    bench = build()
    with bench.pool.lease(MEASURE) as one, bench.pool.lease(MEASURE) as other:
        assert one is not other
        assert replace(one.spec, turn=0) == replace(other.spec, turn=0) == MEASURE
        assert len(bench.pool.snapshot()) == 2


def test_what_is_lent_to_others_is_not_measured(build: Callable[..., Bench]) -> None:
    bench = build()
    shared = ModelSpec("a", dtype="float32")
    with bench.pool.lease(shared) as mine, bench.pool.lease(MEASURE) as measured:
        assert measured is not mine
    with bench.pool.lease(shared) as again:
        assert again is mine
        assert again.model is not None


def test_its_room_is_reserved_and_given_back(build: Callable[..., Bench]) -> None:
    bench = build(budget=int(1.5 * ONE))
    with bench.pool.lease(MEASURE), pytest.raises(Busy), bench.pool.lease(ModelSpec("b", dtype="float32")):
        pass
    with bench.pool.lease(ModelSpec("b", dtype="float32")) as loaded:
        assert loaded.model is not None


def test_a_load_that_fails_leaves_nothing_behind(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.loader.errors = [BadModel("No model.", "Choose another.")]
    with pytest.raises(BadModel), bench.pool.lease(MEASURE):
        pass
    assert bench.pool.snapshot() == ()


def test_a_quantized_model_that_is_too_large_is_refused_before_it_loads(build: Callable[..., Bench]) -> None:
    wish = replace(MEASURE, quantization="int8")
    room = place(FACTS, detect_devices()[-1:], Policy(batch=PLANNED_ROWS, quantization="int8", dtype="float32"))
    bench = build(budget=room.total_bytes - 1)
    with pytest.raises(DoesNotFit, match=r"needs .* to run in float32; the CPU has .* to give"), bench.pool.lease(wish):
        pass
    assert bench.loader.loads == []
    with build(budget=room.total_bytes).pool.lease(wish) as loaded:
        assert loaded.placement.weight_bytes == scheme_bytes(FACTS, "int8", "float32")


def test_what_was_trained_beside_a_base_is_neither_quantized_nor_measured(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    tuned = Tuned("tuned:0", "0", tmp_path, 0.0, TunedCard(base="a"))
    for spec in (ModelSpec("tuned:0", quantization="nf4"), ModelSpec("tuned:0", purpose="measure")):
        with pytest.raises(BadInput, match="only whole models"):
            own_spec(spec, tuned)


def test_a_real_one_comes_with_its_reading(tmp_path: Path) -> None:
    folder = folder_of("llama")
    settings = Settings(home=tmp_path, model_roots=(folder.parent,))
    pool = Pool(settings, Catalog(settings), Ledger(settings), Lanes(inline=True), load)
    wish = ModelSpec(folder.name, purpose="measure", quantization="nf4", device="cpu")
    with pool.lease(wish) as loaded:
        assert loaded.loading is not None
        assert loaded.loading.steady_bytes is not None
        ids = torch.tensor([[4, 7, 9]])
        assert loaded.lane.call(lambda: loaded.model(ids).logits).shape == (1, 3, loaded.facts.vocab_size)
    assert loaded.model is None
