"""A server that speaks vLLM's completions API over a small model with adapters, in a thread, with
faults on request. For a shell: python -m tests.builders.served MODEL PORT [NAME=ADAPTER ...]"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

VERSION = "0.32.0"
FAULTS = (
    "ignores adapters",  # answers of an adapter are the base's
    "ignores adapters together",  # the same where several requests are there at once
    "shuffles answers",  # each request gets the answer to the one before
    "drops connections",  # half an answer, then the end, every other time of a request
    "fails at first",  # status 500, every other time of a request
    "fails always",
    "truncates",  # log-probabilities of some tokens are left out
    "adds a token",  # the prompt begins with another token, which it says
    "adds a token silently",
    "duplicates",  # each answer twice
    "is another model",  # all log-probabilities are off
    "rounds",  # all are off by a thousandth of a nat or so
    "states NaN",
)


class RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Quiet(ThreadingHTTPServer):
    """Prints nothing where a client is gone, as one that gives up is: what a command prints is under
    test."""

    def handle_error(self, *_: object) -> None:
        pass


class StandIn:
    """The server.

    Attributes:
        faults: some of FAULTS.
        slow: seconds that each answer takes longer.
        requests: bodies that were answered, in order.
    """

    def __init__(self, model_folder: Path, port: int = 0, max_rank: int = 64) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model = AutoModelForCausalLM.from_pretrained(model_folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder)
        self.max_model_len = self.model.config.max_position_embeddings
        self.max_rank = max_rank
        self.adapters: dict[str, str] = {}
        self.loads = True
        self.key: str | None = None
        self.faults: set[str] = set()
        self.slow = 0.0
        self.requests: list[dict] = []
        self.heard: Counter[str] = Counter()
        self.before: dict | None = None
        self.inside = 0
        self.lock = threading.Lock()
        self.http = _Quiet(("127.0.0.1", port), self.handler())
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt) for body in self.requests for prompt in prompts_of(body))

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    # --- the API

    def answer(self, path: str, body: dict | None) -> tuple[int, object]:
        if path == "/version":
            return 200, {"version": VERSION}
        if path == "/metrics":
            counts = {"request_success": len(self.requests), "prompt_tokens": self.prompt_tokens}
            return 200, "".join(f"vllm:{name}_total {n}\n" for name, n in counts.items())
        if path == "/v1/models":
            return 200, {"object": "list", "data": self.list_models()}
        if path == "/v1/load_lora_adapter" and body and self.loads:
            return 200, self.load(body["lora_name"], body["lora_path"])
        if path == "/v1/completions" and body:
            return 200, self.complete(body)
        raise RefusalError(404, "Not Found")

    def list_models(self) -> list[dict]:
        base = {
            "id": "base",
            "object": "model",
            "owned_by": "vllm",
            "root": "x",
            "parent": None,
            "max_model_len": self.max_model_len,
        }
        return [
            base,
            *(
                {**base, "id": name, "root": path, "parent": "base", "max_model_len": None}
                for name, path in self.adapters.items()
            ),
        ]

    def load(self, name: str, path: str) -> str:
        from peft import PeftModel

        if name in self.adapters:
            raise RefusalError(400, f"The lora adapter '{name}' has already been loaded.")
        config = Path(path) / "adapter_config.json"
        if not config.is_file():
            raise RefusalError(404, f"Loading lora {name} failed: No adapter found for {path}")
        rank = json.loads(config.read_text())["r"]
        if rank > self.max_rank:
            raise RefusalError(
                500, f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."
            )
        with self.lock:
            if self.adapters:
                self.model.load_adapter(path, adapter_name=name)
            else:
                self.model = PeftModel.from_pretrained(self.model, path, adapter_name=name)
            self.model.eval()
            self.adapters[name] = path
        return f"Success: LoRA adapter '{name}' added successfully."

    def complete(self, body: dict) -> dict:
        if body["model"] not in ("base", *self.adapters):
            raise RefusalError(404, f"The model `{body['model']}` does not exist.")
        asked, count = body.get("logprob_token_ids"), body.get("logprobs")
        if asked and count is not None and count != len(asked):
            raise RefusalError(400, "When both are set, logprobs must equal len(logprob_token_ids)")
        choices = []
        for ids in prompts_of(body):
            if len(ids) + (body.get("max_tokens") or 0) > self.max_model_len:
                raise RefusalError(
                    400, f"This model's maximum context length is {self.max_model_len}"
                )
            choices.append({"index": len(choices), **self.choice(body, ids)})
        answer = {"id": "cmpl-1", "object": "text_completion", "model": body["model"]}
        if "duplicates" in self.faults:
            choices += choices
        return {**answer, "choices": choices}

    def choice(self, body: dict, ids: list[int]) -> dict:
        given = ids
        if self.faults & {"adds a token", "adds a token silently"}:
            ids = [2, *ids][: self.max_model_len - 1]
        with self.lock, self.chosen(body["model"]):
            scored = self.logprobs(ids)
            new = self.generate(body, ids)
            following = self.logprobs([*ids, *new])[len(ids) - 1 :]
        if "rounds" in self.faults:
            scored, following = scored * 1.0002, following * 1.0002
        if "is another model" in self.faults:
            scored, following = scored * 0.9, following * 0.9
        text = self.tokenizer.decode(new, skip_special_tokens=True)
        choice = {"text": text, "logprobs": None, "prompt_logprobs": None, "finish_reason": "stop"}
        if len(new) == body["max_tokens"]:
            choice["finish_reason"] = "length"
        if body.get("return_token_ids"):
            told = given if "adds a token silently" in self.faults else ids
            choice |= {"prompt_token_ids": list(told), "token_ids": new}
        if body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self.of_prompt(scored, ids)
        if body.get("logprobs") is not None:
            choice["logprobs"] = self.of_tokens(body, ids, new, scored, following)
        return choice

    def of_prompt(self, scored, ids: list[int]) -> list:
        places = [None, *(stated(scored[i - 1], ids[i]) for i in range(1, len(ids)))]
        return places[:-1] if "truncates" in self.faults else places

    def of_tokens(self, body: dict, ids: list[int], new: list[int], scored, following) -> dict:
        """As vLLM: the tokens that are asked for, else the likeliest; with echo the prompt's too."""
        rows = [(token, following[i]) for i, token in enumerate(new)]
        if body.get("echo"):
            rows = [(t, scored[i - 1] if i else None) for i, t in enumerate(ids)] + rows
        found = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, row in rows:
            found["tokens"].append(self.show(body, token))
            found["token_logprobs"].append(None if row is None else float(row[token]))
            if row is None:
                found["top_logprobs"].append(None)
                continue
            wanted = body.get("logprob_token_ids") or row.topk(max(1, body["logprobs"])).indices
            wanted = [token, *map(int, wanted)]
            if "truncates" in self.faults:
                wanted = wanted[:1]
            values = {self.show(body, each): float(row[each]) for each in wanted}
            if "states NaN" in self.faults:
                values = dict.fromkeys(values, float("nan"))
            found["top_logprobs"].append(values)
        return found

    def show(self, body: dict, token: int) -> str:
        if body.get("return_tokens_as_token_ids"):
            return f"token_id:{token}"
        return self.tokenizer.decode([token])

    # --- the model

    @contextmanager
    def chosen(self, name: str) -> Iterator[None]:
        together = "ignores adapters together" in self.faults and self.inside > 1
        if name == "base" or together or "ignores adapters" in self.faults:
            if self.adapters:
                with self.model.disable_adapter():
                    yield
            else:
                yield
            return
        self.model.set_adapter(name)
        yield

    def logprobs(self, ids: list[int]):
        with torch.inference_mode():
            return self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def generate(self, body: dict, ids: list[int]) -> list[int]:
        new: list[int] = []
        dice = torch.Generator().manual_seed(body.get("seed") or 0)
        ends = {self.tokenizer.eos_token_id, *body.get("stop_token_ids", [])}
        stop = body.get("stop") or []
        while len(new) < body["max_tokens"]:
            row = self.logprobs([*ids, *new])[-1]
            if body.get("temperature"):
                weights = (row / body["temperature"]).softmax(-1)
                new.append(int(torch.multinomial(weights, 1, generator=dice)))
            else:
                new.append(int(row.argmax()))
            text = self.tokenizer.decode(new)
            if new[-1] in ends or any(word in text for word in stop):
                break
        return new

    # --- HTTP

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.serve(None)

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                self.serve(json.loads(self.rfile.read(size)))

            def serve(self, body: dict | None) -> None:
                server.inside += 1
                try:
                    self.reply(body)
                finally:
                    server.inside -= 1

            def reply(self, body: dict | None) -> None:
                asked = self.path == "/v1/completions"
                said = json.dumps(body)
                server.heard[said] += asked
                turn = server.heard[said] % 2 == 1
                if asked:
                    time.sleep(server.slow)
                try:
                    if server.key and self.headers["Authorization"] != f"Bearer {server.key}":
                        raise RefusalError(401, "Unauthorized")
                    if asked and (
                        "fails always" in server.faults
                        or ("fails at first" in server.faults and turn)
                    ):
                        raise RefusalError(500, "EngineCore encountered an issue")
                    status, answer = server.answer(self.path, body)
                except RefusalError as refusal:
                    status = refusal.status
                    answer = {"error": {"message": str(refusal), "code": status}}
                if asked and status == 200:
                    server.requests.append(body)
                    if "shuffles answers" in server.faults:
                        answer, server.before = server.before or answer, answer
                plain = isinstance(answer, str)
                text = (answer if plain else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if plain else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if asked and "drops connections" in server.faults and turn:
                    self.wfile.write(text[: len(text) // 2])
                    self.wfile.flush()
                    self.connection.close()
                    self.close_connection = True
                    return
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def prompts_of(body: dict) -> list[list[int]]:
    prompt = body["prompt"]
    return prompt if isinstance(prompt[0], list) else [prompt]


def stated(row, token: int) -> dict:
    """As vLLM states a token of a prompt: its rank counts from 1."""
    rank = int((row >= row[token]).sum())
    return {str(token): {"logprob": float(row[token]), "rank": rank, "decoded_token": "?"}}


@contextmanager
def standing(*arguments, **options) -> Iterator[StandIn]:
    server = StandIn(*arguments, **options)
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    made = StandIn(Path(sys.argv[1]), int(sys.argv[2]))
    for given in sys.argv[3:]:
        made.load(*given.split("=", 1))
    sys.stdout.write(f"{made.url}\n")
    sys.stdout.flush()
    made.thread.join()
