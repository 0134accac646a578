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

from pydantic import BaseModel, ConfigDict, Field

ASSETS = Path(__file__).resolve().parent.parent / "assets"
GIB = 1024**3


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
    run_bytes: int = Field(default=2 * GIB, gt=0, description="Bytes all run logs may take; the oldest go first.")
    run_log_bytes: int = Field(default=64 * 1024**2, gt=0, description="Bytes one run's log may take.")

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


def prepare_process(settings: Settings) -> Settings:
    """Set what the libraries read at import, and return the settings with ``offline`` decided.

    Offline is what was asked for, or what the network says. No telemetry, no version check, no run history of
    Gradio's own.
    """
    offline = settings.offline or not hub_answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "15")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return settings.model_copy(update={"offline": offline})
