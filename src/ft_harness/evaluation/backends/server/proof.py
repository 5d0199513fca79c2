"""Proof before scores: the servers' log-likelihoods of a few real answers against those of the
weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lm_eval.api.instance import Instance

from ft_harness.errors import InputError
from ft_harness.evaluation.backends.causal import make_causal_lm
from ft_harness.evaluation.backends.planning import Query, cut_left
from ft_harness.evaluation.backends.server.client import Client
from ft_harness.evaluation.backends.server.completions import LikelihoodRequest, Response
from ft_harness.evaluation.backends.server.served_base import ServedBase
from ft_harness.models.adapters import attached
from ft_harness.models.adapters.fit import trained_parameters
from ft_harness.models.adapters.integrity import BaseName, unchecked
from ft_harness.models.adapters.tokens import own_ends
from ft_harness.models.base_model import BaseModel
from ft_harness.models.encoding import Encoder
from ft_harness.models.prompts import PromptForm
from ft_harness.records import AdapterInfo, Agreement, KnownAnswer, LiveProof
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.storage import redact

PROBES = 8
LONGEST = 32  # tokens of an answer that are compared
# nats of an answer; in 16 bits the order of sums alone moves one by some tenths
TOLERANCE, TOLERANCE_HALF = 0.01, 0.25
# of the largest change that the weights show, that the server must show too
_LEAST_CHANGE = 0.5
# times the differences that the server's base shows, that an adapter's effect must have
_LEAST_EFFECT = 4


@dataclass(frozen=True)
class Probes:
    """Real prompts with an answer each, on which servers are proven.

    Attributes:
        prompts: as texts.
        queries: with their answers, as tokens.
    """

    prompts: list[str]
    queries: list[Query]


@dataclass(frozen=True)
class _Known:
    """The weights' own results for the probes.

    Attributes:
        tuned: with the adapter; None: the base alone is looked at.
    """

    source: Literal["weights", "card"]
    queries: Sequence[Query]
    base: Sequence[Response]
    tuned: Sequence[Response] | None = None


def make_probes(base: BaseModel, texts: Sequence[tuple[str, str]]) -> Probes:
    """Probes for the proof, of (prompt, answer) pairs encoded as lm-eval encodes them; long answers
    are cut."""
    # The path of scoring itself, so that a blank or a special token is where it will be.
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(texts)]
    pairs = Encoder(base.tokenizer).encode_scored(requests)
    queries = [cut_left(context, answer[:LONGEST], base.max_length) for context, answer in pairs]
    return Probes([prompt for prompt, _ in texts], queries)


def prove_base(
    base: ServedBase, probes: Probes, adapters: Sequence[AdapterFolder] = ()
) -> ServedBase:
    """Prove that servers compute a recipe's base: the served base, with how far it agrees.

    Args:
        adapters: whose cards say what the base gave, where its weights are not at hand.

    Raises:
        InputError: it is another model, or nothing is known to compare it with.
    """
    if base.weights is not None:
        known = _Known("weights", probes.queries, _score(base.weights, probes.queries))
    else:
        known = _known_of(next((a for a in adapters if _answers(a)), None), base)
    return replace(base, agreement=_compare(base, None, replace(known, tuned=None)))


def prove_adapter(
    base: ServedBase, name: str, adapter: AdapterFolder, probes: Probes, form: PromptForm | None
) -> tuple[ServedBase, AdapterInfo]:
    """Prove that servers compute an adapter: the served adapter with its agreement, and what a
    record says of it.

    Args:
        name: of the adapter on the servers.
        form: how the prompts are rendered; None: not known, and not compared.

    Raises:
        InputError: the servers leave it out, or apply another one; whatever `attached` refuses.
    """
    if base.weights is not None:
        untuned = _score(base.weights, probes.queries)
        with attached(adapter, base.weights, probes.prompts, form) as (tuned, info):
            known = _Known("weights", probes.queries, untuned, _score(tuned, probes.queries))
            ends = tuned.ends
    else:
        known, ends = _known_of(adapter, base), own_ends(adapter.path, base.tokenizer)
        info = _describe(adapter, base, ends)
    agreement = _compare(base, name, known)
    return replace(base, name=name, ends=ends, agreement=agreement), info


def state_agreement(base: ServedBase) -> str:
    """One line on what was proven of servers."""
    found = base.agreement
    assert found is not None
    where = "a server" if found.servers == 1 else f"{found.servers} servers"
    flips = f"{found.flips} flips" if found.flips else "no flip"
    against = "the weights" if found.source == "weights" else "the adapter's card"
    changed = "" if found.change is None else f", the adapter changes one by {found.change:.3g}"
    return (
        f"{found.model} on {where} ({found.engine}): {found.probes} real answers within "
        f"{found.nats:.2g} nats of {against}, {flips}{changed}"
    )


def _score(model: BaseModel, queries: Sequence[Query]) -> list[Response]:
    """Under `ft-causal`."""
    scored = make_causal_lm(model).scorer.score(queries)
    return [response for response in scored if response is not None]


def _answers(adapter: AdapterFolder) -> list[KnownAnswer]:
    return adapter.card.known_answers if adapter.card else []


def _known_of(adapter: AdapterFolder | None, base: ServedBase) -> _Known:
    """What an adapter's card says.

    Raises:
        InputError: there is none, or it says nothing.
    """
    answers = _answers(adapter) if adapter else []
    if not answers:
        raise InputError(
            f"{adapter or base.info.pretrained}: nothing is known to compare the server with",
            "the base's weights on this machine, or an adapter whose card has known_answers",
            "fetch the base's weights, or train the adapter with this version of ft-harness",
        )
    queries = [Query(tuple(each.stem), tuple(each.answer)) for each in answers]
    return _Known("card", queries, [a.base for a in answers], [a.tuned for a in answers])


def _describe(adapter: AdapterFolder, base: ServedBase, ends: Sequence[int]) -> AdapterInfo:
    """An adapter that nothing but servers can run."""
    rows = base.model.get_input_embeddings().weight.shape[0]
    name = BaseName(base.info.pretrained, base.info.revision, base.info.identity)
    card = adapter.card
    return AdapterInfo(
        name=redact(adapter.path.resolve().name),
        path=str(adapter),
        identity=adapter.identity,
        trainable_parameters=card.trainable_parameters if card else trained_parameters(adapter),
        ends=list(ends),
        live_proof=LiveProof(
            prompts=len(_answers(adapter)),
            max_logit_change=None,
            changed_prompts=sum(each.base[0] != each.tuned[0] for each in _answers(adapter)),
        ),
        unchecked=unchecked(adapter, name, base.tokenizer, rows),
    )


def _ask(
    base: ServedBase, client: Client, names: Sequence[str], known: _Known
) -> list[list[Response]]:
    """What a server says of each probe under each name, names first: the answers of two rounds.

    One by one in order, then all at once and the other way round, base and adapter mixed: order,
    caches and batches must not matter.
    """
    asked = [(name, query) for name in names for query in known.queries]
    requests = [LikelihoodRequest(query.inputs, {0: query}) for _, query in asked]
    bodies = [request.body(name) for request, (name, _) in zip(requests, asked, strict=True)]
    # The last probes first, and base and adapter of one probe next to each other.
    mixed = sorted(range(len(asked)), key=lambda number: -(number % len(known.queries)))
    rounds = ((1, list(range(len(asked)))), (base.pool.concurrency, mixed))
    found: list[list[Response]] = [[] for _ in asked]
    for concurrency, order in rounds:
        pool = base.pool.alone(client, concurrency)
        for answers in pool.ask([bodies[number] for number in order]):
            for place, answer in answers.items():
                found[order[place]].append(requests[order[place]].read(answer)[0])
    return found


def _compare(base: ServedBase, name: str | None, known: _Known) -> Agreement:
    """Ask every server, and compare.

    Args:
        name: of an adapter; None: the base alone.

    Raises:
        InputError: one differs by more than the tolerance, or doesn't apply the adapter.
    """
    tolerance = TOLERANCE if base.info.dtype == "float32" else TOLERANCE_HALF
    names = [base.name] if name is None else [base.name, name]
    expected = [*known.base, *(known.tuned or [])]
    count, nats, flips, changes = len(known.queries), 0.0, 0, []
    for client in base.pool.clients:
        found = _ask(base, client, names, known)
        off = [
            max(abs(value - right) for value, _ in answers)
            for answers, (right, _) in zip(found, expected, strict=True)
        ]
        # "not <=" and not ">": a NaN must not pass.
        if not max(off[:count]) <= tolerance:
            raise _other_base(base, client, max(off[:count]), tolerance)
        if known.tuned is not None:
            changes.append(_change(found, count))
            effect = max(
                abs(after - before)
                for (before, _), (after, _) in zip(known.base, known.tuned, strict=True)
            )
            # Before the tolerance, which in 16 bits may be wider than the adapter's effect.
            _check_applied(client, str(name), changes[-1], effect, max(off[:count]))
        if not max(off) <= tolerance:
            raise _other_adapter(client, str(name), max(off), tolerance)
        nats = max(nats, *off)
        flips += sum(
            any(greedy != right for _, greedy in answers)
            for answers, (_, right) in zip(found, expected, strict=True)
        )
    return Agreement(
        engine=base.engine,
        model=names[-1],
        servers=len(base.pool.clients),
        probes=count,
        source=known.source,
        nats=nats,
        flips=flips,
        tolerance=tolerance,
        change=min(changes, default=None),
    )


def _change(found: Sequence[Sequence[Response]], count: int) -> float:
    """The largest change of a probe by the adapter, in any round the smallest."""
    pairs = zip(found[:count], found[count:], strict=True)
    return max(
        # The smaller of the rounds: an adapter may be left out of batches alone.
        min(abs(after - before) for (before, _), (after, _) in zip(*pair, strict=True))
        for pair in pairs
    )


def _check_applied(client: Client, name: str, change: float, effect: float, noise: float) -> None:
    """Whether an adapter shows.

    Args:
        change: of a probe by the adapter, on the server.
        effect: what the weights show.
        noise: by how much the server's base differs from the weights.

    Raises:
        InputError: it doesn't, or wouldn't if it were applied.
    """
    # Below that an adapter that is left out could not be told from rounding.
    if effect <= _LEAST_EFFECT * noise:
        raise InputError(
            f"{name}: it changes real answers by up to {effect:.2g} nats, the server differs from "
            f"the weights by {noise:.2g}",
            "an adapter whose effect stands out, so that it can be seen to be applied",
            "score it on this machine",
        )
    if change < _LEAST_CHANGE * effect:
        raise InputError(
            f"{client.address}: {name} changes real answers by up to {change:.2g} nats there, by "
            f"{effect:.2g} with the weights themselves: the server does not apply it",
            "the adapter's own effect",
            "check its folder and name on the server (the tensors' names must match the served "
            "model's), and the server's version",
        )


def _other_base(base: ServedBase, client: Client, nats: float, tolerance: float) -> InputError:
    return InputError(
        f"{client.address}: {base.name} differs from {base.info.pretrained} by {nats:.3g} nats on "
        "a real answer",
        f"the same model in {base.info.dtype}: at most {tolerance:g} nats",
        f"start the server with these weights and --dtype {base.info.dtype}, or set model.dtype to "
        "what it has",
    )


def _other_adapter(client: Client, name: str, nats: float, tolerance: float) -> InputError:
    return InputError(
        f"{client.address}: {name} differs from the adapter's own weights by {nats:.3g} nats on a "
        "real answer",
        f"the same adapter: at most {tolerance:g} nats",
        "an older adapter may have its name: unload that, or start the server again; with several "
        "requests at once, try eval.server.concurrency=1",
    )
