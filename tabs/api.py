"""The named endpoints: one per lab that runs a request to its end, and a few to follow, stop and describe runs.

``/decoding(request, visitor, hub_token, wait)`` -> ``{run_id, status, result, error, visitor}``. A caller without a
visitor token gets one in the first reply and sends it again, for a run opens only to the visitor who made it. Errors are
values, never tracebacks: ``status`` is "failed" and ``error`` the sentence a visitor would read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from core.errors import LabError
from core.labs.base import Request
from core.labs.decoding.request import DecodingRequest
from core.runtime.runs import RunLog
from core.runtime.translate import translate
from core.services import Services

REQUESTS: dict[str, type[Request]] = {"decoding": DecodingRequest}
"""Each lab that has an endpoint, and what its request is."""
POLL_SECONDS = 0.05


def reply(visitor: str, log: RunLog | None = None, error: LabError | None = None) -> dict[str, Any]:
    """The one shape in which every lab's endpoint answers."""
    last = log.last if log is not None else None
    failed = error is not None or (last is not None and last["kind"] == "failed")
    sentence = str(error) if error else f"{last['what']} {last['todo']}".strip() if failed and last else None
    if failed:
        status = "failed"
    elif last is None:
        status = "running"
    else:
        status = last["reason"]
    return {
        "run_id": log.meta.id if log is not None else None,
        "status": status,
        "result": last.get("result") if last is not None else None,
        "error": sentence,
        "visitor": visitor,
    }


def lab_endpoint(services: Services, lab: str, request_type: type[Request]) -> Callable[..., dict[str, Any]]:
    """The function behind a lab's endpoint."""

    def endpoint(request: dict, visitor: str = "", hub_token: str = "", wait: bool = True) -> dict:
        visitor = visitor if services.identity.valid(visitor) else services.identity.new_visitor()
        try:
            checked = request_type.model_validate(request)
            log = services.start(lab, checked, visitor, secret=hub_token or None)
        except Exception as error:  # translated in one place; an API caller gets the sentence
            return reply(visitor, error=translate(error))
        if wait:
            with services.runner.following(log.meta.id):
                log.wait_finished()
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
            log = services.store.open(run_id, visitor)
        except LabError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return services.runner.stop(log.meta.id)

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
