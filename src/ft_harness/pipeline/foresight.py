"""A training's forecast in words: lines of a dry run, and the one line at the start of a run."""

from __future__ import annotations

from ft_harness.amounts import size
from ft_harness.training import Forecast

_PARTS = {
    "weights": "weights of the base",
    "adapter": "what is trained",
    "gradients": "its gradients",
    "optimizer": "optimizer states",
    "activations": "activations",
    "logits": "logits",
}


def work_lines(forecast: Forecast) -> list[tuple[str, str]]:
    """Steps, tokens and parameters."""
    work, batch = forecast.work, forecast.batch
    shares = [f"{batch.batch} at once", *([f"{batch.accumulation} accumulated"] if batch.accumulation > 1 else [])]
    shares += [f"{batch.processes} processes"] if batch.processes > 1 else []
    if forecast.trainable is None or forecast.parameters is None:
        trainable = "not known"
    else:
        share = forecast.trainable / max(forecast.parameters, forecast.trainable)
        trainable = f"{forecast.trainable:,} beside {forecast.parameters:,} of the base ({100 * share:.2g} %)"
    return [
        ("steps", f"{work.steps:,} of {batch.step} rows ({', '.join(shares)}), {work.epochs:.2g} epochs"),
        ("tokens", f"{work.tokens_read:,} read, {work.tokens_trained:,} trained on"),
        ("trainable parameters", trainable),
    ]


def memory_lines(forecast: Forecast) -> list[tuple[str, str]]:
    """The peak by part, whether it fits, and what needs less if not."""
    memory, device = forecast.memory, {"cpu": "memory", "cuda": "GPU memory"}[forecast.device]
    if memory is None:
        return [(device, "not foreseen: this architecture can't be run on shapes alone")]
    parts = [(f"  {_PARTS[name]}", size(count)) for name, count in memory.footprint.parts().items()]
    own = [("  Python and libraries", size(memory.own))] if memory.own else []
    fits = "fits" if memory.fits else "MAY NOT FIT"
    lines = [(f"{device}, peak", f"{size(memory.total)} of {size(memory.room)}: {fits}"), *parts, *own]
    return lines + [(f"  with {setting}", size(total)) for setting, total in memory.instead]


def summarise(forecast: Forecast) -> str:
    """The forecast in one line."""
    work, memory = forecast.work, forecast.memory
    line = f"{work.steps:,} steps of {forecast.batch.step} rows, {work.tokens_read / 1e6:.2g} M tokens to read"
    if memory is None:
        return line
    line += f", peak about {size(memory.total)} of {size(memory.room)}"
    if memory.fits:
        return line
    less = "; ".join(f"{size(total)} with {setting}" for setting, total in memory.instead)
    return f"{line}; WARNING: it may not fit ({less or 'take a smaller model'})"
