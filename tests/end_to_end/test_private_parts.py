"""What training takes of other packages' private parts: the names and parameters that it was
written against.

A failure here means that a new version changed them: read its source before the ranges in
pyproject.toml are widened.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

TRAINING = Path(__file__).resolve().parents[2] / "src" / "ft_harness" / "training"
TRAINER = {  # transformers 5.23
    "_determine_best_metric": "metrics trial",
    "_evaluate": "trial ignore_keys_for_eval skip_scheduler",
    "_finalize_training": "trial num_train_samples start_time",
    "_get_grad_norm": "model grad_norm",
    "_get_learning_rate": "",
    "_get_num_items_in_batch": "batch_samples device",
    "_get_output_dir": "trial",
    "_init_training_state": "max_steps num_update_steps_per_epoch num_train_epochs resume_from_checkpoint trial",
    "_load_rng_state": "checkpoint",
    "_maybe_log_save_evaluate": (
        "tr_loss grad_norm model trial epoch ignore_keys_for_eval start_time learning_rate"
    ),
    "_run_epoch": (
        "model epoch train_dataloader steps_in_epoch num_update_steps_per_epoch trial ignore_keys_for_eval start_time "
        "resume_from_checkpoint epochs_trained steps_trained_in_current_epoch"
    ),
    "_save_checkpoint": "model trial",
    "get_train_dataloader": "",
    "training_step": "model inputs num_items_in_batch",
    "compute_loss": "model inputs return_outputs num_items_in_batch",
}


@pytest.mark.parametrize("name", sorted(TRAINER))
def test_the_trainers_methods(name: str):
    from transformers import Trainer

    assert list(inspect.signature(getattr(Trainer, name)).parameters)[1:] == TRAINER[name].split()


def test_every_private_method_that_is_used_is_watched():
    source = "".join(path.read_text(encoding="utf-8") for path in TRAINING.rglob("*.py"))
    used = {
        name
        for name in re.findall(r"super\(\)\.(_[a-z]\w+)\(", source)
        if not name.startswith("__")
    }
    assert len(used) > 5
    assert used <= TRAINER.keys()


def test_the_trainer_keeps_its_running_loss():
    """Handed on where an evaluation is made up for."""
    from transformers import Trainer

    assert "self._tr_loss" in inspect.getsource(Trainer)


def test_pefts_hook_for_another_product():
    from peft.tuners.lora.layer import Linear, LoraVariant

    assert list(inspect.signature(LoraVariant.forward).parameters) == [
        "module",
        "active_adapter",
        "x",
        "result",
        "kwargs",
    ]
    assert "lora_variant[active_adapter].forward" in inspect.getsource(Linear.forward)
