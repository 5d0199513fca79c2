"""What became of each item from base to tuned: how many were corrected or broken, where, and a few
to read."""

from ft_harness.comparison.cases.listing import (
    MOST_LISTED,
    SHOWN_CHARACTERS,
    Answer,
    Item,
    Listing,
    list_items,
)
from ft_harness.comparison.cases.nearest import (
    NEAREST_FILE,
    Nearest,
    add_nearest,
    case_texts,
    find_nearest,
    read_nearest,
)
from ft_harness.comparison.cases.slices import MIN_ITEMS, Slice
from ft_harness.comparison.cases.summary import (
    Case,
    CaseSummary,
    Choice,
    NearestExample,
    find_cases,
    list_cases,
)
from ft_harness.comparison.cases.table import CASES_FILE, Sheet, Written, read_cases, write_table
from ft_harness.comparison.cases.tagging import Tagged, add_slices, tag_pairs
from ft_harness.comparison.cases.traits import field_kind
from ft_harness.comparison.cases.transitions import (
    THRESHOLD,
    ConfusionPair,
    Transition,
    count_confusion,
)
from ft_harness.metrics.registry import BY_LABEL, DECIDING_METRICS
