"""The record of one evaluation: its schema, and how evaluations on disk are read, ours and those of
lm-eval's command.

One evaluation is subject x task x split x shots x decoding x limit. Its folder
`results/<subject>/<eval_id>/` holds `record.json` (the schema) and `samples.jsonl.gz` (one line per
doc). A missing value is `null`; NaN is never written.
"""

from ft_harness.records.cards import (
    Ancestor,
    Card,
    EpochSummary,
    HistoryEntry,
    KnownAnswer,
    LineageEntry,
    Probe,
    SettingChange,
    TrainingCost,
)
from ft_harness.records.kept_files import read_kept, write_kept, write_kept_list
from ft_harness.records.reading import Evaluation, read_evaluation
from ft_harness.records.schema import (
    RECORD_FILE,
    REPORT_FILES,
    SAMPLES_FILE,
    SCORES_FILE,
    SEQ_CLS,
    AdapterInfo,
    Agreement,
    BackEndInfo,
    Cost,
    Frozen,
    LiveProof,
    ModelInfo,
    Numerous,
    Record,
    Sample,
    Score,
    Settings,
    base_subject,
    describe_record,
    item_hash,
)
