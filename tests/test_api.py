"""The named endpoints through a real server and gradio_client, README's own example among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from core.services import Services
from core.settings import Settings
from tabs.page import build_page, launch_options

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    services = Services(Settings(home=tmp_path_factory.mktemp("home"), offline=True))
    services.warm_up()
    assert services.readiness == "ready"
    demo = build_page(services)
    _, url, _ = demo.launch(server_port=None, prevent_thread_lock=True, **launch_options(services))
    yield url
    demo.close(verbose=False)
    services.close()


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def decode(client: Client, visitor: str = "", **request: Any) -> dict[str, Any]:
    reply: dict[str, Any] = client.predict(request, visitor, api_name="/decoding")
    return reply


def test_only_our_endpoints_are_named(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    labs = {"/decoding", "/quantization", "/finetuning", "/strategies", "/sentiment", "/entities"}
    assert set(named) == {*labs, "/events", "/stop", "/schema"}


def test_a_request_runs_to_its_end_and_the_same_seed_gives_the_same_ids(client: Client) -> None:
    first = decode(client, prompt="The cat", strategies=["sampling"], max_new_tokens=12)
    again = decode(client, first["visitor"], prompt="The cat", strategies=["sampling"], max_new_tokens=12)
    assert first["status"] == again["status"] == "finished"
    assert first["result"]["columns"][0]["ids"] == again["result"]["columns"][0]["ids"]
    assert first["visitor"] == again["visitor"]
    assert first["run_id"] != again["run_id"]


def test_events_replay_the_whole_run_and_go_on_from_any_number(client: Client) -> None:
    made = decode(client, strategies=["greedy"], max_new_tokens=5)
    job = client.submit(made["run_id"], made["visitor"], -1, api_name="/events")
    job.result(timeout=30)
    records = [record for part in job.outputs() for record in part]
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert sum(record["kind"] == "token" for record in records) == 5
    rest = client.submit(made["run_id"], made["visitor"], records[-3]["seq"], api_name="/events")
    rest.result(timeout=30)
    assert [r["seq"] for part in rest.outputs() for r in part] == [r["seq"] for r in records[-2:]]


def test_a_stranger_can_neither_follow_nor_stop(client: Client) -> None:
    made = decode(client, strategies=["greedy"], max_new_tokens=2)
    stranger = decode(client, strategies=["greedy"], max_new_tokens=1)["visitor"]
    missing = "0" * len(made["run_id"])
    for run_id in (made["run_id"], missing):
        with pytest.raises(Exception, match="no such run"):
            client.predict(run_id, stranger, api_name="/stop")


def test_stop_ends_a_run_that_was_not_waited_for(client: Client) -> None:
    made: dict[str, Any] = client.predict({"by_hand": True}, "", "", False, api_name="/decoding")
    assert made["status"] == "running"
    assert client.predict(made["run_id"], made["visitor"], api_name="/stop") is True
    job = client.submit(made["run_id"], made["visitor"], -1, api_name="/events")
    job.result(timeout=30)
    assert job.outputs()[-1][-1]["reason"] == "stopped"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"prompt": ""}, "Prompt is empty"),
        ({"temperature": 0}, "Temperature must be more than 0"),
        ({"temperature": "nan"}, "Temperature must be an ordinary number"),
        ({"prompt": "a\x00b"}, "NUL"),
        ({"prompt": "x" * 1_000_000}, "shorten it"),
        ({"prompt": "word " * 2000}, "this model reads 512"),
        ({"model": "no/such-model"}, "Choose a bundled model"),
        ({"model": "../../etc"}, "local"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(client: Client, request_: dict[str, Any], sentence: str) -> None:
    reply = decode(client, **request_)
    assert reply["status"] == "failed"
    assert sentence in reply["error"]
    assert "Traceback" not in reply["error"]


def test_the_schema_is_the_requests_own(client: Client) -> None:
    schema = client.predict("decoding", api_name="/schema")
    assert schema["properties"]["temperature"]["maximum"] == 2


def test_readmes_example_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"<!-- api -->.*?```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert example is not None
    code = example[1].replace("http://127.0.0.1:7860", address.rstrip("/"))
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own README
    assert "greedy" in capsys.readouterr().out


def test_a_training_runs_as_a_job_to_its_end_and_its_model_decodes(client: Client) -> None:
    request = {"max_steps": 2, "batch_size": 2, "max_length": 32, "r": 2, "data": "pirate-stories"}
    reply = client.predict(request, api_name="/finetuning")
    assert reply["status"] == "finished", reply
    assert reply["result"]["steps"] == 2
    tuned = reply["result"]["model"]
    assert tuned == f"tuned:{reply['run_id']}"
    decoded = decode(client, reply["visitor"], model=tuned, strategies=["greedy"], max_new_tokens=4)
    assert len(decoded["result"]["columns"][0]["ids"]) == 4
    stranger = decode(client, model=tuned, strategies=["greedy"], max_new_tokens=4)
    assert stranger["status"] == "failed"
    assert "Traceback" not in stranger["error"]


def test_a_training_that_cannot_be_is_refused_in_a_sentence(client: Client) -> None:
    reply = client.predict({"task": "language", "method": "probe"}, api_name="/finetuning")
    assert (reply["run_id"], reply["status"]) == (None, "failed")
    assert "linear probe" in reply["error"]


def test_strategies_answer_with_scores(client: Client) -> None:
    reply = client.predict({"budget": 1}, api_name="/strategies")
    assert reply["status"] == "finished", reply
    assert reply["result"]


def test_a_memory_plan_is_answered_and_a_bad_scheme_is_not(client: Client) -> None:
    asked = {"mode": "plan", "model": "mistralai/Mistral-7B-Instruct-v0.3", "schemes": ["nf4-double"]}
    reply = client.predict(asked, api_name="/quantization")
    assert reply["status"] == "finished", reply
    refused = client.predict({"schemes": ["nf3"]}, api_name="/quantization")
    assert refused["status"] == "failed"
    assert "Schemes" in refused["error"]
