"""A model's shape from the Hub: its config and the headers of its weights, and none of the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.catalog.catalog import Catalog
from core.catalog.headers import INDEX, WEIGHTS
from core.catalog.hub import Hub
from core.catalog.shapes import tensors_of
from core.errors import AccessDenied, BadModel, LabError, NotFound
from core.settings import Settings
from tests.fakes_models import TINY_LLAMA, model_files, safetensors_bytes
from tests.hub_server import HubServer, Repository, serving

TOKEN = "hf_secretOfOneVisitor"


def sharded() -> dict[str, bytes]:
    """A tiny model in two files."""
    files = model_files()
    del files[WEIGHTS]
    names = [tensor.name for tensor in tensors_of(TINY_LLAMA)]
    half = len(names) // 2
    parts = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    for file, kept in parts.items():
        files[file] = safetensors_bytes(TINY_LLAMA, skip=tuple(name for name in names if name not in kept))
    index = {"metadata": {}, "weight_map": {name: file for file, kept in parts.items() for name in kept}}
    return {**files, INDEX: json.dumps(index).encode()}


@pytest.fixture
def server() -> Iterator[HubServer]:
    repositories = {
        "org/open": Repository(model_files()),
        "org/sharded": Repository(sharded()),
        "org/gated": Repository(model_files(), gated=True, tokens=frozenset({TOKEN})),
        "org/pickle": Repository({"config.json": b"{}", "pytorch_model.bin": b"\x80"}),
        "org/bare": Repository({"README.md": b"nothing here"}),
    }
    with serving(repositories) as running:
        yield running


@pytest.fixture
def catalog(server: HubServer, tmp_path: Path) -> Catalog:
    return Catalog(Settings(home=tmp_path / "home"), Hub(endpoint=server.url, cache=tmp_path / "cache"))


@pytest.mark.parametrize("name", ["org/open", "org/sharded"])
def test_a_shape_is_what_the_whole_model_would_say(name: str, catalog: Catalog, server: HubServer) -> None:
    facts, exact = catalog.shape(name)
    assert exact
    with pytest.raises(NotFound):  # nothing of it counts as being here
        catalog.facts(name)
    whole = catalog.locate(name).facts
    assert facts == whole
    assert sorted(facts.tensors, key=str) == sorted(whole.tensors, key=str)
    assert catalog.shape(name) == (whole, True)


def test_a_gated_models_shape_is_for_those_who_are_let_in(catalog: Catalog) -> None:
    with pytest.raises(AccessDenied):
        catalog.shape("org/gated")
    assert catalog.shape("org/gated", TOKEN)[0].layers == 2
    catalog.locate("org/gated", TOKEN)
    with pytest.raises(AccessDenied):
        catalog.shape("org/gated")


@pytest.mark.parametrize(("name", "error"), [("org/pickle", BadModel), ("org/bare", BadModel), ("org/none", NotFound)])
def test_no_model_is_one_sentence(name: str, error: type[LabError], catalog: Catalog) -> None:
    with pytest.raises(error) as caught:
        catalog.shape(name)
    assert caught.value.todo


def test_a_known_models_shape_asks_nobody(catalog: Catalog, server: HubServer) -> None:
    facts, exact = catalog.shape("gpt2-large")
    assert (facts.layers, exact) == (36, False)
    assert catalog.shape("story-lm")[1]
    assert server.requests == []
