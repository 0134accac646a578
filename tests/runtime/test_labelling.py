"""Labelling models by name: bundled heads for everybody, a visitor's own, and those of the catalog."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, BertConfig
from transformers import BertForTokenClassification as Tagger

from core.catalog.catalog import ENCODER, Catalog
from core.errors import BadInput, BadModel, NotFound
from core.runtime.bundled_heads import bundled_head, bundled_heads
from core.runtime.labelling import label_choices, label_spec, labels_of
from core.runtime.lanes import Lanes
from core.runtime.ledger import Ledger
from core.runtime.pool import ModelSpec, Pool
from core.settings import Settings
from tests.fakes_generation import VOCABULARY
from tests.fakes_tuned import LABELS, OWNER, Home, lora, with_adapter

HEAD = LoraConfig(r=2, target_modules=["query"], task_type=TaskType.SEQ_CLS)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def classifier(home: Home, **card: Any) -> str:
    """A fine-tuned classifier of the visitor's; returns its name."""
    spec = ModelSpec("tiny-bert", head="classification", labels=LABELS, purpose="train")
    with home.pool.lease(spec) as fresh:
        model = with_adapter(fresh.model, HEAD, 0.3, 4)
    return home.saved(model, "tiny-bert", task="classification", labels=list(LABELS), **card)


def bundle(home: Home, name: str, title: str = "Moods head") -> None:
    """Put a fine-tuned classifier where bundled heads lie."""
    run = classifier(home, title=title).removeprefix("tuned:")
    source, target = home.settings.home / "runs" / run / "model", home.model_folder(name)
    target.mkdir()
    for file in ("adapter_config.json", "adapter_model.safetensors", "benchtop.json"):
        shutil.copy(source / file, target / file)


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return out


def test_a_bundled_head_is_lent_to_everybody_by_its_plain_name(home: Home) -> None:
    bundle(home, "moods")
    with (
        home.pool.lease(ModelSpec("moods")) as loaded,
        home.pool.lease(ModelSpec("moods", head="classification")) as two,
    ):
        assert two is loaded
        assert labels_of(loaded) == LABELS
        assert (loaded.spec.head, loaded.facts.title) == ("classification", "Moods head")
        assert {entry.title for entry in home.pool.snapshot()} == {"Moods head", "tiny-bert"}
    assert home.pool.plan(ModelSpec("moods")).device == "cpu"
    named = home.pool.named("moods")
    assert named is not None
    assert (named.base, named.run, named.attaches) == ("tiny-bert", "", True)
    assert home.pool.named("tiny-bert") is None
    with pytest.raises(NotFound):
        home.pool.named("tuned:0123456789abcdef", OWNER)


def test_what_is_no_bundled_head_is_the_catalogs(home: Home) -> None:
    bundle(home, "moods")
    for name in ("tiny-bert", "nothing", "../models/moods", "moods/", ".", "", "moods/../moods"):
        assert bundled_head(home.settings, name) is None
    assert "moods" not in {choice.name for choice in Catalog(home.settings).choices()}
    (home.model_folder("moods") / "benchtop.json").write_text("{")
    assert bundled_heads(home.settings) == []


def test_a_bundled_head_is_not_trained_further(home: Home) -> None:
    bundle(home, "moods")
    spec = ModelSpec("moods", purpose="train")
    with pytest.raises(BadInput, match="fine-tuned already") as refused, home.pool.lease(spec):
        pytest.fail("lent")
    assert refused.value.todo == "Train its base, tiny-bert."
    with pytest.raises(BadInput, match="fine-tuned already"):
        Catalog(home.settings).locate("moods")


def test_the_picker_offers_bundled_then_own_then_local_then_the_hubs(home: Home, tmp_path: Path) -> None:
    bundle(home, "moods")
    own, stranger = classifier(home, title="Mine"), classifier(home, visitor="a stranger")
    home.tuned(lora())
    torch.manual_seed(0)
    small = BertConfig(vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                       intermediate_size=8, num_labels=3)  # fmt: skip
    Tagger(small).save_pretrained(tmp_path / "roots" / "tagger")
    settings = home.settings.model_copy(update={"model_roots": (tmp_path / "roots",)})
    catalog = Catalog(settings)
    names = [choice.name for choice in label_choices(catalog, settings, "classification", OWNER)]
    assert own in names
    assert stranger not in names
    assert names.index("moods") < names.index(own) < names.index("cross-encoder/stsb-distilroberta-base")
    assert not any(
        name.startswith("tuned:") for name in (c.name for c in label_choices(catalog, settings, "tokens", ""))
    )
    tagging = [choice.name for choice in label_choices(catalog, settings, "tokens", OWNER)]
    assert tagging == ["tagger", "dslim/bert-base-NER", "dslim/distilbert-NER"]
    choice = label_choices(catalog, settings, "classification", OWNER)[0]
    assert (choice.title, choice.note, choice.head) == (
        "Moods head", "3 labels on tiny-bert · bundled", "classification",
    )  # fmt: skip


def test_a_name_without_the_head_is_refused_before_a_download(home: Home) -> None:
    bundle(home, "moods")
    settings = home.settings
    assert label_spec("moods", "classification", settings) == ModelSpec("moods", head="classification")
    assert label_spec("nobody/knows", "tokens", settings) == ModelSpec("nobody/knows", head="tokens")
    for name, head, words in (
        ("moods", "tokens", "moods labels whole texts"),
        ("dslim/bert-base-NER", "classification", "labels words"),
        ("tiny-bert", "tokens", "no head for labels"),
        ("gpt2", "classification", "no head for labels"),
    ):
        with pytest.raises(BadInput, match=words) as refused:
            label_spec(name, head, settings)  # type: ignore[arg-type]
        assert refused.value.todo
    writer = home.tuned(lora())
    with (
        pytest.raises(BadInput, match="writes text"),
        home.pool.lease(label_spec(writer, "tokens", settings), owner=OWNER),
    ):
        pytest.fail("lent")
    with pytest.raises(BadModel, match="no head for labels"), home.pool.lease(ModelSpec("tiny-bert", head="tokens")):
        pytest.fail("lent")


@pytest.mark.parametrize(("name", "count"), [("minilm-sentiment", 2), ("minilm-entities", 7)])
def test_the_heads_that_ship_compute_what_peft_computes(name: str, count: int, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, offline=True)
    pool = Pool(settings, Catalog(settings), Ledger(settings), Lanes(inline=True))
    head = bundled_head(settings, name)
    assert head is not None
    auto = AutoModelForTokenClassification if head.head == "tokens" else AutoModelForSequenceClassification
    path = Catalog(settings).locate(ENCODER).path
    alone = PeftModel.from_pretrained(auto.from_pretrained(path, num_labels=count), str(head.folder)).eval()
    ids = torch.tensor([[101, 1045, 2293, 3000, 1998, 2026, 2767, 2198, 102]])
    with pool.lease(ModelSpec(name)) as loaded, pool.lease(ModelSpec(ENCODER, dtype="float32")) as base:
        assert torch.allclose(logits(loaded.model, ids), logits(alone, ids), atol=1e-6)
        assert len(labels_of(loaded)) == count
        words = loaded.model.bert.embeddings.word_embeddings.weight
        assert words.data_ptr() == base.model.embeddings.word_embeddings.weight.data_ptr()
        assert loaded.bytes < base.bytes / 10
        assert sorted(entry.spec.base for entry in pool.snapshot()) == [ENCODER, name]


def test_every_bundled_head_says_what_it_is() -> None:
    heads = {head.name: head for head in bundled_heads(Settings())}
    assert {"minilm-sentiment", "minilm-entities", "minilm-emotions", "minilm-spam"} <= set(heads)
    for head in heads.values():
        config = json.loads((head.folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == head.base == ENCODER
        assert head.card.labels
        assert head.card.padding == "right"


def test_pickers_import_no_torch() -> None:
    code = (
        "import sys; from core.settings import Settings; from core.catalog.catalog import Catalog;"
        "from core.runtime.labelling import label_choices, label_spec; s = Settings(offline=True);"
        "label_choices(Catalog(s), s, 'tokens', 'me'); label_spec('minilm-entities', 'tokens', s);"
        "sys.exit(int('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
