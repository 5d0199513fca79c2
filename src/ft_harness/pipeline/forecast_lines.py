"""A training's forecast in words: lines of a dry run, and the one line at the start of a run."""

from __future__ import annotations

from ft_harness.comparison.amounts import counted, epochs, rounded, size, tokens
from ft_harness.training import Alternative, Forecast

_PARTS = {
    "weights": "weights of the base",
    "adapter": "what is trained",
    "gradients": "its gradients",
    "optimizer": "optimizer states",
    "activations": "activations",
    "logits": "logits",
}


def work_lines(forecast: Forecast) -> list[tuple[str, str]]:
    """A forecast's steps, tokens and parameters, in lines."""
    work, batch = forecast.work, forecast.batch
    shares = [
        f"{batch.batch} at once",
        *([f"{batch.accumulation} accumulated"] if batch.accumulation > 1 else []),
    ]
    shares += [f"{batch.processes} processes"] if batch.processes > 1 else []
    return [
        (
            "steps",
            f"{work.steps:,} of {batch.step} rows ({', '.join(shares)}), {epochs(work.epochs)}",
        ),
        ("tokens", f"{work.tokens_read:,} read, {counted(work.targets, work.target)} trained on"),
        ("trainable parameters", _trainable(forecast.trainable, forecast.parameters)),
    ]


def _trainable(trainable: int | None, parameters: int | None) -> str:
    if trainable is None or parameters is None:
        return "not known"
    if trainable == parameters:
        return f"all {trainable:,}"
    share = rounded(100 * trainable / parameters)
    return f"{trainable:,} next to {parameters:,} of the base ({share} %)"


def memory_lines(forecast: Forecast) -> list[tuple[str, str]]:
    """A forecast's memory in lines: the peak by part, whether it fits, and what needs less if
    not."""
    memory, device = forecast.memory, {"cpu": "memory", "cuda": "GPU memory"}[forecast.device]
    if memory is None:
        return [(device, "not forecast: this architecture can't be run on shapes alone")]
    parts = [(f"  {_PARTS[name]}", size(count)) for name, count in memory.footprint.parts().items()]
    own = [("  Python and libraries", size(memory.own))] if memory.own else []
    fits = "fits" if memory.fits else "MAY NOT FIT"
    lines = [
        (f"{device}, peak", f"{size(memory.total)} of {size(memory.room)}: {fits}"),
        *parts,
        *own,
    ]
    if not memory.instead:
        return lines
    return [
        *lines,
        ("what needs less", ""),
        *((f"  {_outcome(each)}", _options(each)) for each in memory.instead),
    ]


def _outcome(alternative: Alternative) -> str:
    return f"{size(alternative.total)}: {'fits' if alternative.fits else 'may not fit'}"


def _options(alternative: Alternative) -> str:
    """As the command line takes the settings."""
    return " ".join(
        f"--set {name}={str(value).lower()}" for name, value in alternative.settings.items()
    )


def summarise(forecast: Forecast) -> str:
    """The forecast in one line."""
    work, memory = forecast.work, forecast.memory
    steps = counted(work.steps, "step")
    line = f"{steps} of {forecast.batch.step} rows, {tokens(work.tokens_read)} to read"
    if memory is None:
        return line
    line += f", peak about {size(memory.total)} of {size(memory.room)}"
    if memory.fits:
        return line
    less = [each for each in memory.instead if each.fits] or memory.instead
    advice = "; ".join(f"{_outcome(each)} with {_options(each)}" for each in less)
    return f"{line}; WARNING: it may not fit ({advice or 'take a smaller model'})"
