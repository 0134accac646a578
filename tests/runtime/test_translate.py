"""Each foreign exception has its sentence, and a new one of the Hub's library is noticed here."""

from __future__ import annotations

import errno
import json
import socket

import httpx2
import huggingface_hub.errors
import pytest
from pydantic import BaseModel, Field
from safetensors import SafetensorError

from core.catalog.transfer_errors import TRANSFER_ERRORS
from core.errors import (
    AccessDenied,
    BadInput,
    BadModel,
    Busy,
    Internal,
    LabError,
    NotFound,
    OutOfMemory,
    Stopped,
    Unreachable,
)
from core.runtime.translate import is_out_of_memory, translate, translating

HUB_CLASSES = [
    value
    for value in vars(huggingface_hub.errors).values()
    if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "huggingface_hub.errors"
]
SECRET = "hf_verySecret"


def _answer(kind: type[huggingface_hub.errors.HfHubHTTPError], status: int) -> Exception:
    request = httpx2.Request("GET", f"https://hub/{SECRET}")
    return kind(SECRET, response=httpx2.Response(status, request=request))


@pytest.mark.parametrize("kind", HUB_CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_of_the_hub_library_is_mapped_by_its_own_name(kind: type[Exception]) -> None:
    assert f"{kind.__module__}.{kind.__qualname__}" in TRANSFER_ERRORS
    error = kind.__new__(kind)
    error.args = (SECRET,)
    translated = translate(error)
    assert translated.what
    assert SECRET not in str(translated)


def test_the_table_names_no_class_that_is_gone() -> None:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in HUB_CLASSES}
    assert {name for name in TRANSFER_ERRORS if name.startswith("huggingface_hub.")} == names


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_answer(huggingface_hub.errors.GatedRepoError, 403), AccessDenied),
        (_answer(huggingface_hub.errors.RepositoryNotFoundError, 404), NotFound),
        (_answer(huggingface_hub.errors.HfHubHTTPError, 401), AccessDenied),
        (_answer(huggingface_hub.errors.HfHubHTTPError, 403), AccessDenied),
        (_answer(huggingface_hub.errors.HfHubHTTPError, 404), NotFound),
        (_answer(huggingface_hub.errors.HfHubHTTPError, 429), Unreachable),
        (_answer(huggingface_hub.errors.HfHubHTTPError, 503), Unreachable),
        (huggingface_hub.errors.OfflineModeIsEnabled(SECRET), Unreachable),
        (huggingface_hub.errors.LocalEntryNotFoundError(SECRET), Unreachable),
        (httpx2.ConnectError(SECRET), Unreachable),
        (httpx2.ReadTimeout(SECRET), Unreachable),
        (httpx2.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'"), Unreachable),
        (ConnectionResetError(SECRET), Unreachable),
        (socket.gaierror(-2, SECRET), Unreachable),
        (TimeoutError(SECRET), Unreachable),
        (OSError("Consistency check failed: file should be of size 5 but has size 2"), Unreachable),
        (OSError(errno.ENOSPC, SECRET), Busy),
        (OSError(errno.ENOMEM, SECRET), OutOfMemory),
        (PermissionError(errno.EACCES, SECRET), Internal),
        (OSError(SECRET), Internal),
        (MemoryError(SECRET), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), OutOfMemory),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), OutOfMemory),
        (RuntimeError(SECRET), Internal),
        (SafetensorError(SECRET), BadModel),
        (json.JSONDecodeError(SECRET, "{", 0), BadInput),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, SECRET), BadInput),
        (ZeroDivisionError(SECRET), Internal),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_what_becomes_what(error: Exception, kind: type[LabError]) -> None:
    translated = translate(error)
    assert type(translated) is kind
    assert translated.what.endswith(".")
    assert translated.todo
    assert SECRET not in str(translated)


def test_torch_runs_out_of_memory() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    with pytest.raises(OutOfMemory) as caught, translating():
        torch.empty(10**15)
    assert isinstance(caught.value.__cause__, RuntimeError)


class _Form(BaseModel):
    temperature: float = Field(1.0, gt=0, title="Temperature")
    max_new_tokens: int = Field(5, le=10)


@pytest.mark.parametrize(
    ("values", "what", "todo"),
    [
        ({"temperature": 0}, "Temperature must be more than 0.", "Change it and try again."),
        (
            {"max_new_tokens": 99},
            "New tokens must be at most 10.",
            "Change it and try again.",
        ),
        (
            {"temperature": 0, "max_new_tokens": 99},
            "Temperature must be more than 0. New tokens must be at most 10.",
            "Change it and try again.",
        ),
    ],
)
def test_refused_fields_by_their_titles(values: dict[str, float], what: str, todo: str) -> None:
    with pytest.raises(BadInput) as caught, translating({"temperature": "Temperature", "max_new_tokens": "New tokens"}):
        _Form(**values)
    assert (caught.value.what, caught.value.todo) == (what, todo)


def test_our_own_sentences_follow_the_title() -> None:
    from core.labs.decoding.request import DecodingRequest

    with pytest.raises(BadInput, match=r"^Prompt is empty: type something"), translating({"prompt": "Prompt"}):
        DecodingRequest(prompt=" ")


def test_our_errors_and_interrupts_pass_unchanged() -> None:
    mine = Stopped("Stopped.")
    assert translate(mine) is mine
    with pytest.raises(Stopped) as caught, translating():
        raise mine
    assert caught.value is mine
    with pytest.raises(KeyboardInterrupt), translating():
        raise KeyboardInterrupt


def test_a_name_is_written_as_it_is_and_a_sentence_starts_large() -> None:
    from core.catalog.transfer_errors import explain_transfer

    named = explain_transfer(_answer(huggingface_hub.errors.GatedRepoError, 403), "gpt2")
    assert named is not None
    assert named.what.startswith("gpt2 is gated")
    assert translate(_answer(huggingface_hub.errors.GatedRepoError, 403)).what.startswith("The model is gated")
