"""This machine's devices, and a container's limit read from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.runtime.devices import container_limit, detect_devices, give_back, process_memory


def test_the_cpu_is_always_there_and_last() -> None:
    devices = detect_devices()
    cpu = devices[-1]
    assert (cpu.name, cpu.type, cpu.bf16) == ("cpu", "cpu", True)
    assert cpu.cores is not None
    assert cpu.cores >= 1
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert [device.type for device in devices] == sorted(
        (device.type for device in devices), key=["cuda", "mps", "cpu"].index
    )


def test_this_process_takes_memory() -> None:
    assert process_memory() > 10**6


def test_giving_back_works_where_there_is_nothing() -> None:
    give_back("cpu")


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"memory.max": "max", "memory.current": "5", "memory.stat": ""}, None),
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 500\ninactive_file 200"}, (1000, 500)),
        ({"memory.max": "1000", "memory.current": "1200", "memory.stat": ""}, (1000, 0)),
        (
            {
                "memory/memory.limit_in_bytes": "800",
                "memory/memory.usage_in_bytes": "300",
                "memory/memory.stat": "total_inactive_file 100",
            },
            (800, 600),
        ),
    ],
)
def test_a_containers_limit(tmp_path: Path, files: dict[str, str], limit: tuple[int, int] | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_limit(tmp_path) == limit
