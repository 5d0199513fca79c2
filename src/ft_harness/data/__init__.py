"""Sources -> rows -> docs -> splits, the overlap of splits, the report on the data.

`load_splits` is what task YAMLs name: `!function ft_harness.data.load_splits`.
"""

from ft_harness.data.loading import LOADER_VERSION, load_splits, row_losses, source_files
from ft_harness.data.options import DataOptions
