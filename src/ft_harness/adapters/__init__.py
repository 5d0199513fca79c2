"""The adapter folder: card, integrity, identity of the base, live-proof."""

from ft_harness.adapters.card import (
    CARD_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    WEIGHTS_FILE,
    adapter_folder,
    base_of,
    file_hashes,
    identity,
    read_card,
    read_history,
    write_card,
)
from ft_harness.adapters.integrity import problems
from ft_harness.adapters.live import attach, attached, prove_live, put_back
from ft_harness.adapters.targets import target_problems

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "HISTORY_FILE",
    "WEIGHTS_FILE",
    "adapter_folder",
    "attach",
    "attached",
    "base_of",
    "file_hashes",
    "identity",
    "problems",
    "prove_live",
    "put_back",
    "read_card",
    "read_history",
    "target_problems",
    "write_card",
]
