"""The named endpoints: one per lab that runs a request to its end, and a few to follow, stop and describe runs.

``/decoding(request, visitor, hub_token, wait)`` -> ``{run_id, status, result, error, visitor}``. A caller without a
visitor token gets one in the first reply and sends it again, for a run opens only to the visitor who made it. Errors
are values, never tracebacks: ``status`` is "failed" and ``error`` the sentence a visitor would read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
from pydantic import ValidationError

from core.errors import LabError
from core.labs.base import Request
from core.labs.decoding.request import DecodingRequest
from core.labs.entities.request import EntitiesRequest
from core.labs.finetuning.request import FinetuningRequest
from core.labs.quantization.request import QuantizationRequest
from core.labs.sentiment.request import SentimentRequest
from core.labs.strategies.request import StrategiesRequest
from core.refusals import titles_of
from core.runtime.run_log import RunLog, follow
from core.runtime.translate import translate
from core.services import Services

REQUESTS: dict[str, type[Request]] = {
    "decoding": DecodingRequest,
    "quantization": QuantizationRequest,
    "finetuning": FinetuningRequest,
    "strategies": StrategiesRequest,
    "sentiment": SentimentRequest,
    "entities": EntitiesRequest,
}
"""Each lab that has an endpoint, and what its request is."""
POLL_SECONDS = 0.05


def reply(visitor: str, log: RunLog) -> dict[str, Any]:
    """The one shape in which every lab's endpoint answers."""
    last = log.read()[-1] if log.finished else {}
    failed = last.get("kind") == "failed"
    return {
        "run_id": log.id,
        "status": log.meta.status,
        "result": last.get("result"),
        "error": f"{last['what']} {last['todo']}".strip() if failed else None,
        "visitor": visitor,
    }


def refusal(visitor: str, error: LabError) -> dict[str, Any]:
    """The same shape for a request that never became a run."""
    return {"run_id": None, "status": "failed", "result": None, "error": str(error), "visitor": visitor}


def lab_endpoint(services: Services, lab: str, request_type: type[Request]) -> Callable[..., dict[str, Any]]:
    """The function behind a lab's endpoint."""

    def endpoint(request: dict, visitor: str = "", hub_token: str = "", wait: bool = True) -> dict:
        visitor = visitor if services.identity.valid(visitor) else services.identity.new_visitor()
        try:
            log = services.start(lab, request_type.model_validate(request), visitor, secret=hub_token or None)
        except (LabError, ValidationError) as error:
            return refusal(visitor, translate(error, titles_of(request_type)))
        if wait:
            with services.runner.following(log.id):
                for _ in follow(log):
                    pass
        return reply(visitor, log)

    endpoint.__doc__ = f"Run the {lab} lab on a request; fields as /schema describes them."
    return endpoint


def add_endpoints(services: Services) -> None:
    """Declare every endpoint; call inside the page's ``gr.Blocks``."""

    async def events(run_id: str, visitor: str, after: int = -1) -> AsyncIterator[list]:
        """Follow a run of yours: yields lists of event records, from the one after ``after`` to the last."""
        try:
            log = services.store.open(run_id, visitor)
        except LabError as error:
            raise gr.Error(str(error), print_exception=False) from error
        with services.runner.following(run_id):
            while True:
                finished = log.finished
                records = log.read(after)
                if records:
                    after = records[-1]["seq"]
                    yield records
                if finished:
                    return
                await asyncio.sleep(POLL_SECONDS)

    def stop(run_id: str, visitor: str) -> bool:
        """Stop a run of yours; true if it was still going."""
        try:
            return services.stop(run_id, visitor)
        except LabError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def schema(lab: str) -> dict:
        """The JSON schema of a lab's request."""
        if lab not in REQUESTS:
            raise gr.Error(f"There is no lab named {lab!r}. Labs: {', '.join(REQUESTS)}.", print_exception=False)
        return REQUESTS[lab].model_json_schema()

    for lab, request_type in REQUESTS.items():
        gr.api(lab_endpoint(services, lab, request_type), api_name=lab, concurrency_limit=None)
    gr.api(events, api_name="events", concurrency_limit=None)
    gr.api(stop, api_name="stop", concurrency_limit=None)
    gr.api(schema, api_name="schema", concurrency_limit=None)
