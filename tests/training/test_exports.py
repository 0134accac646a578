"""What is made of a trained model: zips, merged weights, graphs for onnxruntime, repositories on the Hub."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForTokenClassification,
)

from core.errors import AccessDenied, BadInput, NotFound, Unreachable
from core.runtime.pool import ModelSpec
from core.runtime.tuned import Tuned, TunedModels
from core.training.hub_upload import check_reachable, push
from core.training.merging import merge
from core.training.onnx_export import OnnxModel, export_onnx
from core.training.packaging import pack
from tests.fakes_generation import VOCABULARY, gpt2, llama
from tests.fakes_tuned import LABELS, OWNER, Home, lora, prompt, with_adapter
from tests.hub_server import HubServer, Repository, serving

TOKEN = "hf_writes_here"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


@pytest.fixture
def without_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads as a client without Xet makes them: the test server stores large files by Git LFS only."""
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)


def opened(home: Home, name: str) -> Tuned:
    return TunedModels(home.settings).open(name, OWNER)


def rows(count: int, length: int, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and a mask whose second half is padding in every other row."""
    ids = torch.randint(1, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1::2, (length + 1) // 2 :] = 0
    return ids, mask


def logits(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return out


def test_a_zip_holds_the_model_and_nothing_that_runs(home: Home, tmp_path: Path) -> None:
    tuned = opened(home, home.tuned(lora()))
    for name in ("training_args.bin", "optimizer.pt", "notes.py", ".secret.json"):
        (tuned.folder / name).write_bytes(b"x")
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    size = pack(tuned.folder, first, inside="pirates", extra={"README.md": "# Pirates\n"})
    pack(tuned.folder, second, inside="pirates", extra={"README.md": "# Pirates\n"})
    assert size == first.stat().st_size
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        assert {"pirates/adapter_model.safetensors", "pirates/adapter_config.json", "pirates/README.md"} <= set(names)
        assert len(names) == len(set(names))
        assert not any(name.endswith((".bin", ".pt", ".py")) or "secret" in name for name in names)
        assert archive.read("pirates/README.md") == b"# Pirates\n"
        archive.extractall(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(home.model_folder("tiny"))
    model.load_adapter(str(tmp_path / "out" / "pirates"))
    ids, mask = rows(2, 9)
    assert torch.allclose(logits(model, ids, mask), logits(home.reference(tuned.name), ids, mask), atol=1e-5)


def test_event_files_are_packed_apart(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "events.out.tfevents.1.host").write_bytes(b"events")
    (folder / "model.safetensors").write_bytes(b"weights")
    pack(folder, tmp_path / "t.zip", inside="t", events=True)
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        assert archive.namelist() == ["t/run/events.out.tfevents.1.host"]
    with pytest.raises(NotFound):
        pack(tmp_path / "nothing", tmp_path / "n.zip", inside="n")


@pytest.mark.parametrize("base", ["tiny", "tiny-gpt2"])
def test_merged_weights_say_what_the_adapter_says(home: Home, base: str, tmp_path: Path) -> None:
    tuned = opened(home, home.tuned(lora(use_dora=base == "tiny", bias="lora_only"), base=base))
    with home.pool.lease(ModelSpec(base)) as loaded:
        merge(loaded, tuned, loaded.tokenizer, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids, mask = rows(2, 9)
    expected = logits(home.reference(tuned.name, base), ids, mask)
    assert torch.allclose(logits(merged, ids, mask), expected, atol=2e-5 * float(expected.abs().max()))
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert (tmp_path / "merged" / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "merged" / "tokenizer.json").is_file()


def test_what_has_no_adapter_is_not_merged(home: Home, tmp_path: Path) -> None:
    prompted = opened(home, home.tuned(prompt(), kind="prompt"))
    whole = opened(home, home.saved(llama(), "tiny", method="full"))
    with home.pool.lease(ModelSpec("tiny")) as loaded:
        for tuned, why in ((prompted, "cannot be merged"), (whole, "whole already")):
            with pytest.raises(BadInput, match=why):
                merge(loaded, tuned, loaded.tokenizer, tmp_path / "merged")


def tagger() -> BertForTokenClassification:
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, initializer_range=0.3, num_labels=len(LABELS),
    )  # fmt: skip
    return BertForTokenClassification(config).eval()


@pytest.mark.parametrize(
    "make",
    [llama, gpt2, tagger],
)
def test_a_graph_computes_what_torch_computes_for_any_batch_and_length(make: Any, tmp_path: Path) -> None:
    model = make()
    export_onnx(model, tmp_path / "model.onnx")
    graph = OnnxModel(tmp_path / "model.onnx", threads=1)
    for count, length in ((1, 1), (2, 7), (5, 33), (3, 64)):
        ids, mask = rows(count, length)
        ours, theirs = logits(model, ids, mask), graph(ids, mask)
        real = mask.bool() if ours.ndim == 3 else torch.ones(count, dtype=torch.bool)
        assert ours.shape == theirs.shape
        assert torch.allclose(ours[real], theirs[real], atol=1e-4 * float(ours.abs().max()))


def test_weights_that_are_too_large_for_one_file_stand_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.training.onnx_export.ONE_FILE", 1000)
    model = tagger()
    export_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").stat().st_size > 4 * 10_000
    ids, mask = rows(3, 11)
    ours, theirs = logits(model, ids, mask), OnnxModel(tmp_path / "model.onnx", threads=1)(ids, mask)
    assert torch.allclose(ours[mask.bool()], theirs[mask.bool()], atol=1e-4 * float(ours.abs().max()))


def test_a_merged_classifier_becomes_a_graph(home: Home, tmp_path: Path) -> None:
    spec = ModelSpec("tiny-bert", head="classification", labels=LABELS)
    with home.pool.lease(spec) as fresh:
        config = LoraConfig(r=4, target_modules=["query", "value"], task_type=TaskType.SEQ_CLS)
        trained = with_adapter(fresh.model, config, 0.3, 4)
        name = home.saved(trained, "tiny-bert", task="classification", labels=list(LABELS))
        merge(fresh, opened(home, name), fresh.tokenizer, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert merged.config.id2label == dict(enumerate(LABELS))
    ids, mask = rows(4, 12)
    expected = logits(trained, ids, mask)
    assert torch.allclose(logits(merged, ids, mask), expected, atol=1e-4)
    export_onnx(merged.eval(), tmp_path / "merged" / "model.onnx")
    assert torch.allclose(OnnxModel(tmp_path / "merged" / "model.onnx")(ids, mask), expected, atol=1e-4)


def pushed(server: HubServer, folder: Path, token: str | None = TOKEN, repo: str = "ada/pirates") -> str:
    texts = {"README.md": "---\ntags:\n- benchtop\n---\n# Pirates\n"}
    return push(folder, repo, private=True, token=token, texts=texts, endpoint=server.url)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # between the Hub's library and its client
@pytest.mark.usefixtures("without_xet")
def test_a_push_makes_the_repository_and_commits_the_files(home: Home) -> None:
    tuned = opened(home, home.tuned(lora()))
    (tuned.folder / "optimizer.pt").write_bytes(b"pickle")
    with serving({}) as server:
        server.accounts[TOKEN] = "ada"
        assert pushed(server, tuned.folder) == f"{server.url}/ada/pirates"
        repository = server.repositories["ada/pirates"]
        assert repository.private
        weights = (tuned.folder / "adapter_model.safetensors").read_bytes()
        assert repository.files["adapter_model.safetensors"] == weights
        assert repository.files["README.md"].endswith(b"# Pirates\n")
        assert "optimizer.pt" not in repository.files
        assert TOKEN not in str(server.requests)
        assert not any(TOKEN.encode() in data for data in repository.files.values())
        (tuned.folder / "benchtop.json").write_text("{}")
        pushed(server, tuned.folder)
        assert repository.files["benchtop.json"] == b"{}"


@pytest.mark.usefixtures("without_xet")
def test_a_push_that_is_not_allowed_says_so_without_the_token(home: Home) -> None:
    folder = opened(home, home.tuned(lora())).folder
    with serving({"eve/pirates": Repository({})}) as server:
        server.accounts[TOKEN] = "ada"
        with pytest.raises(AccessDenied, match="needs a token"):
            pushed(server, folder, token=None)
        with pytest.raises(AccessDenied, match="did not accept") as unknown:
            pushed(server, folder, token="hf_unknown")
        with pytest.raises(AccessDenied, match="write to eve/pirates") as foreign:
            pushed(server, folder, repo="eve/pirates")
        assert "hf_unknown" not in str(unknown.value)
        assert TOKEN not in str(foreign.value)
        assert server.repositories["eve/pirates"].files == {}
        gone = server.url
    with pytest.raises(Unreachable):
        push(folder, "ada/pirates", private=True, token=TOKEN, texts={}, endpoint=gone)
    with pytest.raises(Unreachable, match="switched off"):
        check_reachable(offline=True)
    check_reachable(offline=False)
