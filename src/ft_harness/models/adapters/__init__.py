"""The adapter folder: read once, checked against its base, attached and proven live."""

from ft_harness.models.adapters.fetching import adapter_folder
from ft_harness.models.adapters.fit import read_tensors
from ft_harness.models.adapters.integrity import problems
from ft_harness.models.adapters.live import attach, attached
from ft_harness.models.adapters.originals import put_back, remember
from ft_harness.models.adapters.targets import dora_problems, lora_config, target_problems
from ft_harness.records.adapter_files import (
    CARD_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    LINEAGE_FILE,
    MODEL_FILE,
    WEIGHTS_FILE,
    read_card,
    read_history,
    read_lineage,
    weights_file,
    write_card,
)
from ft_harness.records.adapter_folder import AdapterFolder
