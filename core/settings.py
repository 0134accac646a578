"""Everything that the surroundings decide, read once. The only module that reads the environment.

Import this before anything of Hugging Face or Gradio: ``prepare_process`` sets what those libraries read at import.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

REPOSITORY = Path(__file__).resolve().parent.parent
ASSETS = REPOSITORY / "assets"
MIB = 1024**2
GIB = 1024**3
_OWNERS_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # no visitor's job works with the owner's


class Settings(BaseModel):
    """All settings with their defaults. ``Settings.from_environment`` reads ``BENCHTOP_<FIELD>`` for each field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path.home() / ".benchtop", description="Where runs, secrets and ledgers are kept.")
    assets: Path = Field(default=ASSETS, description="Bundled models, datasets and documents.")
    offline: bool = Field(default=False, description="Never ask the Hub for anything.")
    public: bool = Field(default=False, description="Strangers use this deployment: no local folders, smaller limits.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=7860, ge=0, le=65535, description="Port to listen on.")
    model_roots: tuple[Path, ...] = Field(default=(), description="Folders below which local models may lie.")
    memory_budget: int | None = Field(
        default=None, gt=0, description="Bytes for models on each device; measured if unset."
    )
    follower_grace: float = Field(
        default=10.0, ge=0, description="Seconds an interactive run lives without a follower."
    )
    runs_per_visitor: int = Field(default=4, ge=1, description="Interactive runs one visitor may have going.")
    runs_in_all: int = Field(default=64, ge=1, description="Interactive runs going at one time.")
    run_days: float = Field(default=30.0, gt=0, description="Days after which a finished run is deleted.")
    run_bytes: int = Field(
        default=16 * GIB, gt=0, description="Bytes all runs may take, trained models included; the oldest go first."
    )
    run_log_bytes: int = Field(default=64 * MIB, gt=0, description="Bytes one run's log may take.")
    job_processes: int = Field(
        default=1, ge=1, description="Processes of a training job, on all machines together; more than one share it."
    )
    job_machines: int = Field(
        default=1, ge=1, description="Machines of a training job; each has the same home and code."
    )
    job_main_address: str = Field(
        default="",
        validate_default=True,
        description="With several machines: host:port of this one, as the others reach it.",
    )
    job_fsdp: bool = Field(default=False, description="Shard a training job's model over its processes (FSDP).")
    job_minutes: float = Field(default=240.0, gt=0, description="Minutes a job may take; then it is stopped.")
    job_steps: int = Field(default=100_000, gt=0, description="Optimizer steps a training may take.")
    job_bytes: int = Field(default=4 * GIB, gt=0, description="Bytes a job's folder may take; then it is stopped.")
    jobs_per_visitor: int = Field(default=16, ge=1, description="Jobs one visitor may have waiting and going.")
    jobs_in_all: int = Field(default=64, ge=1, description="Jobs waiting and going at one time.")
    upload_bytes: int = Field(default=50 * MIB, gt=0, description="Bytes one uploaded file may have.")
    visitor_upload_bytes: int = Field(
        default=500 * MIB, gt=0, description="Bytes one visitor's uploads may take; the oldest go first."
    )
    uploads_bytes: int = Field(default=5 * GIB, gt=0, description="Bytes all uploads may take; the oldest go first.")
    upload_days: float = Field(default=30.0, gt=0, description="Days after which an unused upload is deleted.")

    @field_validator("job_main_address")
    @classmethod
    def _address(cls, address: str, info: ValidationInfo) -> str:
        host, _, port = address.rpartition(":")
        if info.data.get("job_machines", 1) > 1 and not (host and port.isdigit()):
            raise ValueError("must be host:port when a job has several machines")
        return address

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """Settings from ``BENCHTOP_*``; on a Space (``SPACE_ID``) the deployment is public and listens everywhere.

        ``BENCHTOP_MODEL_ROOTS`` is a list separated as PATH is. Raises ``pydantic.ValidationError`` on a bad value.
        """
        env = dict(os.environ if environment is None else environment)
        given = {
            name: env[f"BENCHTOP_{name.upper()}"] for name in cls.model_fields if env.get(f"BENCHTOP_{name.upper()}")
        }
        values: dict[str, object] = dict(given)
        if "model_roots" in given:
            roots = given["model_roots"].split(os.pathsep)  # an empty entry would mean the working directory
            values["model_roots"] = tuple(Path(root).expanduser() for root in roots if root.strip())
        if "home" in given:
            values["home"] = Path(given["home"]).expanduser()  # no shell has done so for a .env file or a service
        if env.get("SPACE_ID"):
            values = {"public": True, "host": "0.0.0.0", **values}  # noqa: S104 - a Space is reached from outside
        for name, gradio in (("host", "GRADIO_SERVER_NAME"), ("port", "GRADIO_SERVER_PORT")):
            if env.get(gradio) and name not in given:  # a Space, and whoever knows Gradio, says it this way
                values[name] = env[gradio]
        if env.get("HF_HUB_OFFLINE", env.get("TRANSFORMERS_OFFLINE", "")).upper() in ("1", "TRUE", "YES", "ON"):
            values.setdefault("offline", True)
        return cls.model_validate(values)

    def child_environment(self, device: str | None = None) -> dict[str, str]:
        """The environment of a process that gets these settings: ours, with each field spelled out.

        ``device`` ("cuda:1") leaves it one graphics card, which it will call its first. Tokens of the Hub are left out.
        """
        names = {f"BENCHTOP_{name.upper()}" for name in type(self).model_fields} | {*_OWNERS_TOKENS, "HF_HUB_OFFLINE"}
        env = {name: value for name, value in os.environ.items() if name not in names}
        env |= {f"BENCHTOP_{name.upper()}": text for name, text in self._texts() if text}
        if self.offline:
            env["HF_HUB_OFFLINE"] = "1"
        kind, _, index = (device or "").partition(":")
        if kind == "cuda" and index.isdigit():
            seen = [card for card in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if card.strip()]
            env["CUDA_VISIBLE_DEVICES"] = seen[int(index)] if int(index) < len(seen) else index
        env.setdefault("PYTHONUNBUFFERED", "1")  # what a killed process said last is worth reading
        return env

    def _texts(self) -> list[tuple[str, str]]:
        """Each field as ``from_environment`` reads it; paths don't depend on the working directory."""
        texts = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple):
                text = os.pathsep.join(str(Path(path).absolute()) for path in value)
            elif isinstance(value, bool):
                text = str(int(value))
            elif isinstance(value, Path):
                text = str(value.absolute())
            else:
                text = "" if value is None else str(value)
            texts.append((name, text))
        return texts


def free_port(host: str, port: int) -> int:
    """``port`` if nothing listens there, or any free one for 0. Raises ``OSError`` with a sentence otherwise."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":  # elsewhere this option would let two servers share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise OSError(
                f"Benchtop cannot listen on {host} port {port} ({error.strerror}). Set BENCHTOP_PORT to another port, "
                "or close the program that uses it."
            ) from None
        return int(probe.getsockname()[1])


def first_hop(endpoint: str) -> tuple[str, int]:
    """Host and port that a request to the Hub connects to first: the proxy's where the system names one."""
    parts = urlsplit(endpoint)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def hub_answers(endpoint: str, timeout: float = 0.4) -> bool:
    """Whether a TCP connection to the Hub, or the proxy before it, opens in time, name look-up included."""
    address = first_hop(endpoint)
    opened: list[bool] = []

    def attempt() -> None:
        try:
            socket.create_connection(address, timeout=timeout).close()
            opened.append(True)
        except OSError:
            return

    probe = threading.Thread(target=attempt, daemon=True)  # a name look-up cannot be interrupted, only left behind
    probe.start()
    probe.join(timeout)
    return bool(opened)


def prepare_process(settings: Settings, *, probe: bool = True) -> Settings:
    """Set what the libraries read at import, and return the settings with ``offline`` decided.

    Offline is what was asked for, or what the network says; without ``probe`` what was asked for alone, as in a process
    whose parent has looked. No telemetry, no version check, no run history of Gradio's own.
    """
    offline = settings.offline
    if probe and not offline:
        offline = not hub_answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "15")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler says each start and stop otherwise
    return settings.model_copy(update={"offline": offline})


def process_rank() -> int:
    """The number of this process among those that share a job; 0 for the one that speaks, and when it is alone."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdigit() else 0
