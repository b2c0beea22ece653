"""The LightningModule in a plain Trainer, and its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from lightning import Trainer

from baselines.dmc.module import DMCModule, rate_factor
from nws_data.tasks.lightning import TaskDataModule
from nws_data.tasks.task import load_task


def test_the_rate_falls_fifty_times_evenly():
    factors = [rate_factor(step, 1000) for step in range(1001)]
    assert factors[0] == factors[19] == 1 and factors[20] == 0.95
    assert len(set(factors[:1000])) == 50 and factors[1000] == pytest.approx(0.95**50)
    assert rate_factor(1, 2) == pytest.approx(0.95**25)


@pytest.mark.slow
def test_it_works_in_a_plain_trainer_and_logs(planted_root, tmp_path):
    task = load_task("local/augmentation@100", planted_root)
    module, data = DMCModule(100, 2, learning_rate=1e-3), TaskDataModule(task)
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(module, datamodule=data)
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy"} <= set(trainer.callback_metrics)
    n_steps = 2 * math.ceil(len(task.train) / 64)
    assert trainer.global_step == n_steps and module.network.step == n_steps - 1
    (rate,) = trainer.lr_scheduler_configs[0].scheduler.get_last_lr()
    assert rate == pytest.approx(1e-3 * 0.95**50)
    parts = trainer.predict(module, datamodule=data)
    scores = torch.cat(parts)
    assert scores.shape == (len(task.test), 2)
    assert trainer.test(module, datamodule=data, verbose=False)[0]["test_accuracy"] == pytest.approx(
        task.evaluate(scores).accuracy, abs=1e-6
    )


def test_a_regressions_loss_is_that_of_the_standardised_target():
    module = DMCModule(100, None, target_mean=5.0, target_scale=2.0).eval()
    weights, targets = torch.randn(4, 100), torch.tensor([3.0, 5.0, 7.0, 9.0])
    out = module(weights)
    expected = ((module.network(weights)[:, 0] - torch.tensor([-1.0, 0.0, 1.0, 2.0])) ** 2).mean()
    module.log_dict = lambda *args, **kwargs: None  # there is no trainer to log to
    torch.testing.assert_close(module._loss((weights, targets), ""), expected)
    torch.testing.assert_close(out, module.network(weights)[:, 0] * 2 + 5)
