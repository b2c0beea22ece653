"""The script for a card: deadlines and salvage with real processes, its tasks that need no card, small."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.speed import card_checks, card_speed, cards
from benchmarks.speed.cards import PARTS, Task
from nws_data.space.architecture import all_architectures


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_task_is_there_and_no_call_is_longer_than_ten_minutes(tmp_path, capsys):
    found = vars(card_checks) | vars(card_speed)
    own = [one for one in found.values() if getattr(one, "__module__", "") in (card_checks.__name__, card_speed.__name__)]
    takes_job = {one.__name__ for one in own if list(getattr(one, "__annotations__", ()))[:1] == ["job"]}
    assert {task.name for tasks in PARTS.values() for task in tasks} == takes_job - {"built"}
    with pytest.raises(SystemExit):
        cards.main(["smoke", "--seconds", "601", "--out", str(tmp_path)])
    assert "at most 600" in capsys.readouterr().err


def test_few_architectures_have_every_layer():
    def layers(architectures):
        return {
            (one.filter_size, layer["kernel"].shape, layer.pool_after, layer.name if layer.is_conv else "fc")
            for one in architectures
            for layer in one.layers
            if not layer.is_output
        }

    chosen = [one for filter_size in (3, 5, 7) for one in card_checks.covering(filter_size)]
    assert layers(chosen) == layers(all_architectures())
    assert len(chosen) < 100


@pytest.mark.slow
def test_results_are_written_at_once_and_a_failing_task_costs_itself_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "_LEAST_SECONDS", 0.5)
    file, started_s = tmp_path / "results.jsonl", time.monotonic()
    tasks = [
        Task("environment", cpu=True),
        Task("launches", (), 120, cpu=True),  # needs a card
        Task("precision", ("1",), 1.0, cpu=True),  # takes longer than that
        Task("ceilings"),  # not for a CPU
    ]
    cards.run_part(tasks, file, started_s + 300, cpu=True)
    cards.run_part(tasks[:1], file, time.monotonic() + 0.2, cpu=True)
    found = lines(file)
    ends = [line for line in found if "end" in line]
    assert [(line["task"], line["end"]) for line in ends] == [
        ("environment", 0), ("launches", 1), ("precision", "deadline"), ("environment", "no time left"),
    ]  # fmt: skip
    assert found[0]["task"] == "environment" and found[0]["torch"]
    assert "CUDA" in ends[1]["stderr"]
