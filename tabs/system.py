"""The System tab: the machine, the models in memory, the visitor's runs, what would fit, versions and settings.

Everything is read when the tab is looked at and every few seconds while it stays in view. Before the warm-up is over
the readings that need torch say so instead of loading it. Runs are the visitor's own; opening one goes to its lab.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gradio as gr

from core.catalog.facts import ModelFacts
from core.errors import LabError
from core.runtime.devices import detect_devices
from core.runtime.placement import Policy, place
from core.services import Services
from tabs import LABS, Frame
from tabs.widgets.access import readable_errors
from tabs.widgets.heading import heading
from tabs.widgets.plain_table import plain_table, table
from tabs.widgets.quantities import age, count, size

EVERY_SECONDS = 4
PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "peft", "trl", "accelerate",
    "bitsandbytes", "datasets", "onnxruntime", "gradio", "pydantic",
)  # fmt: skip
WARMING_UP = "warming up"  # before that is over, no reading may load torch
WARMING = "Still warming up: this is read as soon as the labs are ready."
PLACEMENT = (
    "Before a model is loaded, its size is read from its files and set against what each device has free: weights, "
    "the memory of the context, and working space. A GPU is taken when it fits there; the processor computes in "
    "float32, large models in bfloat16. What does not fit is refused with the reason, before anything is loaded."
)
PULSE_JS = f"""
const button = element.querySelector('button');
const refresh = () => trigger('refresh');
button.addEventListener('click', refresh);
const pulse = setInterval(() => {{
  if (!element.isConnected) return clearInterval(pulse);
  if (document.visibilityState === 'visible' && element.offsetParent) refresh();
}}, {EVERY_SECONDS * 1000});
"""
SHARE = "<input class='bt-link' type='text' readonly aria-label='link to the run'><span class='bt-note'></span>"
SHARE_JS = """
const field = element.querySelector('input');
watch('value', () => {
  const value = props.value;
  element.hidden = !value?.run;
  if (!value?.run) return;
  const url = new URL(window.benchtop.root());
  url.searchParams.set('tab', value.lab);
  url.searchParams.set('run', value.run);
  if (value.open) { location.assign(url.href); return; }
  field.value = url.href;
  field.select();
  navigator.clipboard?.writeText(url.href).then(
    () => { element.querySelector('span').textContent = 'Copied. Whoever has this link can read the run.'; },
    () => { element.querySelector('span').textContent = 'Copy this link; whoever has it can read the run.'; });
});
element.hidden = true;
"""


def build(frame: Frame) -> None:
    """The tab's widgets and their one refresh."""
    services, who = frame.services, frame.visitor
    heading(frame.lab.title, frame.lab.sentence)
    pulse = gr.HTML(
        None,
        html_template="<button type='button' class='bt-chip'>Refresh</button>",
        js_on_load=PULSE_JS,
        elem_classes=["bt-chips"],
        apply_default_css=False,
    )
    devices = _card("Devices", "Memory in all and free now.")
    models = _card("Models in memory", "One copy each; a model in use is never put out.")
    jobs = _card("Jobs", "Trainings, each in a process of its own: everybody's, without saying whose.")
    runs = _card("Your runs", "Only you see these, until you share one.")
    shared = gr.HTML(
        None, html_template=SHARE, js_on_load=SHARE_JS, elem_classes=["bt-link-row"], apply_default_css=False
    )
    fits = _card("What fits here, and where", PLACEMENT)
    _card("Versions", "What this page runs on.", versions())
    _card("Settings in force", "Set with BENCHTOP_… in the environment.", settings_table(services))

    def refresh(token: str | None) -> list[dict[str, Any]]:
        return [
            device_table(services),
            pool_table(services),
            job_table(services),
            run_table(services, who.token(token)),
            fit_table(services),
        ]

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    outputs = [devices, models, jobs, runs, fits]
    frame.tab.select(refresh, who.state, outputs, **quiet)
    pulse.refresh(refresh, who.state, outputs, **quiet)

    def act(token: str | None, event: gr.EventData) -> tuple[Any, Any]:
        owner = who.token(token)
        with readable_errors():
            return act_on_run(services, owner, event._data["act"], event._data["key"]), run_table(services, owner)

    runs.act(act, who.state, [shared, runs], trigger_mode="multiple", **quiet)


def _card(title: str, sentence: str, value: dict[str, Any] | None = None) -> gr.HTML:
    with gr.Column(elem_classes=["bt-card"]):
        heading(title, sentence, level=3)
        return plain_table(value)


def act_on_run(services: Services, owner: str, act: str, run_id: str) -> dict[str, Any] | None:
    """Do what a row's button says; the value tells the browser where to go or what to copy."""
    if act == "Delete":
        services.store.delete(run_id, owner)
        return None
    lab = services.store.open(run_id, owner).meta.lab
    if act == "Share":
        return {"lab": lab, "run": services.store.share(run_id, owner), "at": time.time()}
    return {"lab": lab, "run": run_id, "open": True, "at": time.time()}


def device_table(services: Services) -> dict[str, Any]:
    """The devices, best first."""
    rows = _when_warm(
        services,
        lambda: [
            [d.label, d.name, size(d.total_bytes), size(d.free_bytes), "yes" if d.bf16 else "no"]
            for d in detect_devices()
        ],
    )
    return table(["device", "name", "memory", "free", "bfloat16"], rows or [], empty=WARMING, numbers=[2, 3])


def pool_table(services: Services) -> dict[str, Any]:
    """The models in memory and how many borrow each."""
    rows = _when_warm(
        services,
        lambda: [
            [e.title, e.device, size(e.bytes), e.state, e.borrowers, "in use" if e.borrowers else age(e.idle_seconds)]
            for e in services.pool.snapshot()
        ],
    )
    columns = ["model", "device", "memory", "state", "borrowed by", "idle for"]
    empty = "No model is in memory; the first run loads one." if rows is not None else WARMING
    return table(columns, rows or [], empty=empty, numbers=[2, 4])


def job_table(services: Services) -> dict[str, Any]:
    """The jobs that run or wait, in the order of the queue."""
    rows = [
        [job.lab, f"waits, {job.position} before it" if job.position else "runs", age(job.seconds), job.device or "–"]
        for job in services.jobs.snapshot()
    ]
    return table(["lab", "state", "for", "device"], rows, empty="No training runs or waits.", numbers=[])


def run_table(services: Services, owner: str) -> dict[str, Any]:
    """The visitor's runs, the newest first."""
    metas = services.store.list(owner)
    rows = [
        [m.title, m.lab, m.status, age(time.time() - m.created) + " ago", size(m.bytes), "yes" if m.shared else "no"]
        for m in metas
    ]
    pages = {lab.path for lab in LABS}  # an export has no page of its own: its training's shows it
    shown = [["Open", "Share"] if m.lab in pages else [] for m in metas]
    actions = [acts if m.status == "running" else [*acts, "Delete"] for m, acts in zip(metas, shown, strict=True)]
    return table(
        ["run", "lab", "state", "made", "size", "shared"],
        rows,
        empty="Your runs will be listed here. Run something in a lab.",
        numbers=[4],
        keys=[m.id for m in metas],
        actions=actions,
    )


def fit_table(services: Services) -> dict[str, Any]:
    """Where each model of the catalog would go on this machine, and why; nothing is loaded for it."""
    devices = detect_devices() if services.readiness != WARMING_UP else ()

    def row(title: str, facts: ModelFacts) -> list[Any]:
        try:
            plan = place(facts, devices, Policy(purpose="infer"))
        except LabError as error:
            return [title, count(facts.parameters), "no", "", "", str(error)]
        return [title, count(facts.parameters), plan.device, plan.dtype, size(plan.total_bytes), plan.why]

    rows = _when_warm(
        services, lambda: [row(c.title, services.catalog.facts(c.name)) for c in services.catalog.choices()]
    )
    columns = ["model", "parameters", "fits on", "as", "estimate", "why"]
    return table(columns, rows or [], empty="No model is known." if rows is not None else WARMING, numbers=[1, 4])


def versions() -> dict[str, Any]:
    """Of Python and the libraries, without importing them."""

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    rows = [["Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"]]
    return table(["part", "version"], rows + [[package, of(package)] for package in PACKAGES])


def settings_table(services: Services) -> dict[str, Any]:
    """Every setting with its value. Settings hold no secret."""
    settings = services.settings
    rows = [
        [f"BENCHTOP_{name.upper()}", _shown(getattr(settings, name)), info.description or ""]
        for name, info in type(settings).model_fields.items()
        if not (settings.public and name in ("home", "assets", "model_roots"))  # strangers need no paths of ours
    ]
    return table(["setting", "value", "what it does"], rows)


def _when_warm(services: Services, read: Callable[[], list[list[Any]]]) -> list[list[Any]] | None:
    return read() if services.readiness != WARMING_UP else None


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value) or "none"
    return "measured" if value is None else str(value)
