"""Layers under the lens and layer by layer: every number against a plain model whose weights were really replaced."""

from __future__ import annotations

import copy
import gc
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import BadInput, DoesNotFit
from core.events import Done, Event, Progress, Step, dump
from core.labs.quantization.choices import Mode
from core.labs.quantization.layers import layers_of
from core.labs.quantization.lens import _summary
from core.labs.quantization.passages import passages, scored_text
from core.labs.quantization.request import QuantizationRequest
from core.labs.quantization.run import run
from core.labs.quantization.script_lens import IMPORTS, lines
from core.quantization import effects
from core.runtime.pool import ModelSpec
from core.runtime.run_context import RunContext
from core.services import Services
from core.settings import Settings
from tests.fakes_tuned import OWNER, VISITOR, Home, lora, prompt
from tests.training.tiny_models import WORDS, folder_of

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = " ".join(WORDS[i * i % len(WORDS)] for i in range(200))
STORY = "Once upon a time there was a little fox. The fox was afraid of the dark, and the moon was kind to it."


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Tiny Llama and GPT-2 with weights far from zero, so that changing them matters, and a classifier's encoder."""
    folder = tmp_path_factory.mktemp("lens")
    for name in ("llama", "gpt2", "bert"):
        target = folder / "models" / name
        target.mkdir(parents=True)
        for path in folder_of(name).iterdir():  # type: ignore[arg-type]
            (target / path.name).write_bytes(path.read_bytes())
        if name != "bert":
            torch.manual_seed(1)
            model: Any = AutoModelForCausalLM.from_pretrained(target)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(6) if parameter.dim() == 2 else None
            model.save_pretrained(target)
        if name == "llama":  # GPT-2's stays without a start token
            tokenizer = AutoTokenizer.from_pretrained(target)
            tokenizer.bos_token = "<end>"
            tokenizer.save_pretrained(target)
    made = Services(Settings(home=folder / "home", model_roots=(folder / "models",), offline=True))
    yield made
    made.close()


def events_of(services: Services, **fields: Any) -> list[Event]:
    return list(going(services, RunContext("run", "visitor"), **fields))


def going(services: Services, context: RunContext, **fields: Any) -> Iterator[Event]:
    request = QuantizationRequest.model_validate({"model": "llama", "text": TEXT, "mode": "lens", **fields})
    return run(request, services.pool, context)


def steps(events: list[Event], name: str) -> list[dict[str, Any]]:
    for event in events:
        json.dumps(dump(event), allow_nan=False)
    return [event.values for event in events if isinstance(event, Step) and event.name == name]


def seen(services: Services, **fields: Any) -> dict[str, Any]:
    (values,) = steps(events_of(services, **fields), "lens")
    return values


def plain(services: Services, name: str) -> tuple[Any, Any]:
    located = services.catalog.locate(name)
    dtype: Any = torch.float32
    return AutoModelForCausalLM.from_pretrained(located.path, dtype=dtype).eval(), AutoTokenizer.from_pretrained(
        located.path
    )


def logs(model: Any, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return found


def readings(before: Any, after: Any, tokenizer: Any) -> dict[str, float]:
    """A plain loop over every position of the text, in the two passages that 128 positions make of it."""
    ids = tokenizer(TEXT)["input_ids"]
    pieces = [ids[:128], ids[128:]] if tokenizer.bos_token is None else [[1, *ids[:127]], [1, *ids[127:]]]
    found = []
    for piece in pieces:
        one, two = logs(before, piece), logs(after, piece)
        for i, token in enumerate(piece[1:]):
            same = int(one[i].argmax()) == int(two[i].argmax())
            found.append((one[i, token], two[i, token], (one[i].exp() * (one[i] - two[i])).sum(), same))
    means = [sum(float(each) for each in column) / len(found) for column in zip(*found, strict=True)]
    return {"before": math.exp(-means[0]), "after": math.exp(-means[1]), "kl": means[2], "top1": means[3]}


def three_bits(weight: Tensor) -> Tensor:
    """Symmetric, one scale per output channel, as the test's own formula."""
    scale = weight.abs().amax(1, keepdim=True) / 3
    return (weight / scale).round().clamp(-3, 3) * scale


FEW = {"bits": 3, "granularity": "channel"}


@pytest.mark.parametrize(
    ("name", "layer", "everywhere"),
    [
        ("llama", "", False),
        ("llama", "model.layers.1.mlp.down_proj", False),
        ("gpt2", "transformer.h.1.mlp.c_fc", False),
        ("llama", "", True),
        ("gpt2", "", True),
    ],
)
def test_the_effect_is_that_of_a_model_whose_weights_were_replaced(
    services: Services, name: str, layer: str, everywhere: bool
) -> None:
    found = seen(services, model=name, layer=layer, everywhere=everywhere, **FEW)
    model, tokenizer = plain(services, name)
    other = copy.deepcopy(model)
    if not layer:
        layer = "model.layers.0.self_attn.q_proj" if name == "llama" else "transformer.h.0.attn.c_attn"
    assert found["layer"] == layer
    names = [one["name"] for one in found["layers"]]
    for one in names if everywhere else [layer]:
        weight = other.get_submodule(one).weight
        as_rows = weight.detach().T if name == "gpt2" else weight.detach()
        assert list(as_rows.shape) == next(each["shape"] for each in found["layers"] if each["name"] == one)
        new = three_bits(as_rows)
        with torch.no_grad():
            weight.copy_(new.T if name == "gpt2" else new)
    expected = readings(model, other, tokenizer)
    assert found["perplexity"]["before"] == pytest.approx(expected["before"], rel=1e-4)
    assert found["perplexity"]["after"] == pytest.approx(expected["after"], rel=1e-4)
    assert found["kl"] == pytest.approx(expected["kl"], rel=1e-3, abs=1e-6)
    assert found["top1"] == pytest.approx(expected["top1"], abs=1.5 / 200)
    assert found["kl"] > 1e-3
    assert found["places"] == (len(names) if everywhere else 1)
    before = model.get_submodule(layer).weight.detach()
    after = other.get_submodule(layer).weight.detach()
    assert found["mse"] == pytest.approx(float((before - after).square().mean()), rel=1e-3)
    assert found["distinct"] == after.unique().numel()


def test_the_borrowed_model_is_never_changed(services: Services) -> None:
    with services.pool.lease(ModelSpec("llama")) as loaded:
        kept = {name: parameter.clone() for name, parameter in loaded.model.named_parameters()}
        ids = torch.tensor([[5, 6, 7, 8]])
        before = loaded.model(ids).logits
        first = seen(services, everywhere=True, bits=2)
        steps(events_of(services, mode="sweep", bits=2), "layer")
        assert loaded.model(ids).logits.equal(before)
        assert all(parameter.equal(kept[name]) for name, parameter in loaded.model.named_parameters())
        assert type(loaded.model.get_submodule("model.layers.0.self_attn.q_proj")) is torch.nn.Linear
    again = seen(services, everywhere=True, bits=2)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"symmetric": False, "granularity": "group", "group_size": 8},
        {"method": "nf4", "group_size": 32},
        {"method": "kmeans", "bits": 2},
        {"method": "magnitude", "sparsity": 0.75},
        {"method": "structured", "sparsity": 0.25},
        {"method": "n_m", "n": 1, "m": 4},
    ],
)
def test_each_method_is_seen(services: Services, fields: dict[str, Any]) -> None:
    found = seen(services, **fields)
    assert sum(found["before"]["counts"]) == sum(found["after"]["counts"]) == found["parameters"] == 32 * 32
    assert len(found["before"]["edges"]) == len(found["after"]["counts"]) + 1
    shares = {"magnitude": 0.75, "structured": 0.25, "n_m": 0.75}
    if fields.get("method") in shares:
        assert found["zeros"] == shares[fields["method"]]
    if fields.get("method") == "kmeans":
        assert found["distinct"] == 4
    assert found["worst"]["snr_db"] == min(ratio for ratio in found["channels"] if ratio is not None)
    assert found["snr_db"] > 0
    assert found["kl"] > 0
    assert 0 < found["top1"] <= 1
    sentence = found["sentence"]
    assert found["method_title"] in sentence
    assert f"{found['perplexity']['before']:.2f} to {found['perplexity']['after']:.2f}" in sentence


def test_doing_nothing_costs_nothing(services: Services) -> None:
    found = seen(services, method="magnitude", sparsity=0)
    assert found["perplexity"]["before"] == found["perplexity"]["after"]
    assert (found["kl"], found["top1"], found["snr_db"], found["mse"]) == (0, 1, None, 0)
    assert "nothing is lost" in found["sentence"]


def test_a_sweep_reads_each_layer_alone_and_all_at_once(services: Services) -> None:
    events = events_of(services, mode="sweep", **FEW)
    (start,), rows, (summary,) = steps(events, "start"), steps(events, "layer"), steps(events, "summary")
    assert start["total"] == len(rows) == 14
    assert [row["layer"] for row in rows] == [one["name"] for one in layers_of(services.catalog.facts("llama"))]
    for place in (0, 6, 13):
        alone = seen(services, layer=rows[place]["layer"], **FEW)
        model, tokenizer = plain(services, "llama")
        other = copy.deepcopy(model)
        weight = other.get_submodule(rows[place]["layer"]).weight
        with torch.no_grad():
            weight.copy_(three_bits(weight.detach()))
        expected = readings(model, other, tokenizer)
        assert rows[place]["perplexity"] == pytest.approx(expected["after"], rel=1e-4)
        assert rows[place]["delta"] == pytest.approx(expected["after"] - expected["before"], rel=1e-3, abs=1e-3)
        assert rows[place]["kl"] == pytest.approx(expected["kl"], rel=1e-3, abs=1e-6)
        assert rows[place]["snr_db"] == alone["snr_db"]
        assert rows[place]["bits_per_weight"] == alone["bits_per_weight"]
    order = [row["layer"] for row in sorted(rows, key=lambda row: -row["kl"])]
    assert summary["order"] == order
    assert (summary["most"], summary["least"]) == (order[0], order[-1])
    assert summary["sum_of_deltas"] == pytest.approx(sum(row["delta"] for row in rows), abs=1e-4)
    together = seen(services, everywhere=True, **FEW)
    assert summary["all_at_once"]["kl"] == together["kl"]
    assert summary["all_at_once"]["perplexity"] == together["perplexity"]["after"]
    done = [event for event in events if isinstance(event, Progress) and event.unit == "layers"]
    assert [event.done for event in done][:14] == list(range(1, 15))
    assert isinstance(events[-1], Done)


def test_a_sweep_that_is_stopped_keeps_what_it_has(services: Services) -> None:
    context = RunContext("run", "visitor")
    events = []
    for event in going(services, context, mode="sweep"):
        events.append(event)
        if len(steps(events, "layer")) == 3:
            context.cancel()
    assert len(steps(events, "layer")) == 3
    (summary,) = steps(events, "summary")
    assert (len(summary["order"]), summary["all_at_once"]) == (3, None)
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "stopped"


def test_without_room_for_a_second_copy_the_sweep_says_so(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise DoesNotFit("No room.")

    monkeypatch.setattr(services.pool, "room_for_copies", refuse)
    events = events_of(services, mode="sweep")
    (summary,) = steps(events, "summary")
    assert summary["all_at_once"] is None
    assert "no room" in next(event.text for event in events if event.kind == "warning")
    with pytest.raises(DoesNotFit):
        events_of(services, everywhere=True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layer": "model.layers.7.mlp.down_proj"}, "no linear layer called"),
        ({"layer": "lm_head"}, "no linear layer called"),
        ({"layer": "../../etc"}, "no linear layer called"),
        ({"model": "bert"}, "writes no text"),
        ({"model": "bert", "mode": "sweep"}, "writes no text"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(services: Services, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        events_of(services, **fields)


def test_passages_begin_with_the_start_token_and_lose_nothing(services: Services) -> None:
    _, tokenizer = plain(services, "llama")
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    found = passages(tokenizer, TEXT, 150, 64)
    assert [len(passage) for passage in found] == [64, 64, 25]
    assert {passage[0] for passage in found} == {tokenizer.bos_token_id}
    assert [i for passage in found for i in passage[1:]] == ids[:150]
    stories, source = scored_text("", services.settings)
    assert len(stories) > 50_000
    assert "Benchtop" in source
    assert scored_text("mine", services.settings) == ("mine", "your text")


@pytest.mark.parametrize("made", [lora(), prompt()])
def test_a_tuned_model_is_looked_at_with_its_adapter(tmp_path: Path, made: Any) -> None:
    """The base's weight is changed inside the adapted layer, and neither model learns of it."""
    home = Home.at(tmp_path)
    name = home.tuned(made, title="Pirates")
    request = QuantizationRequest(mode=Mode.LENS, model=name, text="the cat sat on the sea " * 4, bits=2)
    events = list(run(request, home.pool, RunContext("run", VISITOR)))
    (found,) = steps(events, "lens")
    with home.pool.lease(ModelSpec(name), owner=OWNER) as loaded:
        other = copy.deepcopy(loaded.model)
        layer = other.get_submodule(found["layer"])
        weight = getattr(layer, "base_layer", layer).weight
        with torch.no_grad():
            scale = weight.abs().amax()
            weight.copy_((weight / scale).round().clamp(-1, 1) * scale)
        (piece,) = passages(loaded.tokenizer, request.text, 511, loaded.facts.context)
        for model, key in ((loaded.model, "before"), (other, "after")):
            nats = torch.nn.functional.nll_loss(logs(model, list(piece)), torch.tensor(piece[1:]))
            assert found["perplexity"][key] == pytest.approx(math.exp(float(nats)), rel=1e-4)
    assert found["kl"] > 0


def test_what_is_kept_of_a_model_goes_when_the_model_goes(services: Services) -> None:
    seen(services, model="gpt2")
    with services.pool.lease(ModelSpec("gpt2")) as loaded:
        twin = weakref.ref(effects._known[loaded.model].twin)
    del loaded
    services.pool.drop_idle()
    gc.collect()
    assert twin() is None


def test_a_layer_that_breaks_the_model_is_the_most_sensitive() -> None:
    rows = [{"layer": name, "kl": kl, "delta": 1.0} for name, kl in (("a", 0.1), ("b", None), ("c", 0.2))]
    summary = _summary(rows, None)
    assert summary["order"] == ["b", "c", "a"]
    assert "b (KL beyond all numbers" in summary["sentence"]


def test_the_story_model_under_the_lens(services: Services) -> None:
    """The bundled model, the whole way: NF4 everywhere costs little, pruning half of the weights costs much more."""
    nf4 = seen(services, model="story-lm", text="", method="nf4", everywhere=True)
    pruned = seen(services, model="story-lm", text="", method="magnitude", sparsity=0.8, everywhere=True)
    assert 10 < nf4["perplexity"]["before"] < 40
    assert nf4["perplexity"]["before"] == pruned["perplexity"]["before"]
    assert abs(nf4["perplexity"]["after"] - nf4["perplexity"]["before"]) < 1
    assert pruned["perplexity"]["after"] > 1.2 * pruned["perplexity"]["before"]
    assert nf4["bits_per_weight"] == pytest.approx(4.5, abs=0.02)
    assert len(nf4["channels"]) <= 200


def script_of(services: Services, fields: dict[str, Any]) -> str:
    request = QuantizationRequest.model_validate({"model": "llama", "text": TEXT, **fields})
    located = services.catalog.locate(request.model)
    load = (
        f"tokenizer = AutoTokenizer.from_pretrained({str(located.path)!r})\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(located.path)!r}, dtype=torch.float32).eval()\n"
    )
    head = ["from __future__ import annotations", *IMPORTS]
    return "\n".join(
        [*head, "from transformers import AutoModelForCausalLM, AutoTokenizer", load, lines(request, located.facts)]
    )


def said(services: Services, capsys: pytest.CaptureFixture[str], fields: dict[str, Any]) -> list[dict[str, Any]]:
    text = script_of(services, fields)
    assert "core." not in text
    exec(compile(text, "script", "exec"), {"__name__": "__main__"})  # noqa: S102
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 3, "granularity": "group", "group_size": 16, "symmetric": False, "everywhere": True},
        {"method": "nf4", "layer": "transformer.h.1.mlp.c_proj", "model": "gpt2"},
        {"method": "kmeans", "bits": 3},
        {"method": "magnitude", "sparsity": 0.3},
        {"method": "structured", "sparsity": 0.3, "model": "gpt2", "everywhere": True},
        {"method": "n_m", "n": 2, "m": 8},
    ],
)
def test_the_script_of_a_look_gives_its_numbers(
    services: Services, capsys: pytest.CaptureFixture[str], fields: dict[str, Any]
) -> None:
    found = seen(services, **fields)
    before, after = said(services, capsys, {"mode": "lens", **fields})
    assert before["perplexity"] == pytest.approx(found["perplexity"]["before"], rel=1e-5)
    assert after["perplexity"] == pytest.approx(found["perplexity"]["after"], rel=1e-5)
    assert after["kl"] == pytest.approx(found["kl"], rel=1e-3, abs=1e-7)
    assert after["top1"] == pytest.approx(found["top1"], abs=1e-5)
    assert after["layer"] == found["layer"]
    assert after["snr_db"] == pytest.approx(found["snr_db"], abs=1e-3)
    assert after["bits_per_weight"] == pytest.approx(found["bits_per_weight"], abs=1e-4)


def test_the_script_of_a_sweep_gives_its_rows(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    events = events_of(services, mode="sweep", bits=2, scored_tokens=64)
    printed = said(services, capsys, {"mode": "sweep", "bits": 2, "scored_tokens": 64})
    rows, (summary,) = steps(events, "layer"), steps(events, "summary")
    assert [one["layer"] for one in printed] == [None, *(row["layer"] for row in rows), "all at once"]
    for row, one in zip(rows, printed[1:-1], strict=True):
        assert one["perplexity"] == pytest.approx(row["perplexity"], rel=1e-5)
        assert one["kl"] == pytest.approx(row["kl"], rel=1e-3, abs=1e-7)
    assert printed[-1]["kl"] == pytest.approx(summary["all_at_once"]["kl"], rel=1e-3)


def test_what_a_visitor_typed_stays_a_literal(services: Services) -> None:
    text = 'a"""\nimport os\n{os}\\n'
    assert repr(text) in script_of(services, {"mode": "lens", "text": text})
