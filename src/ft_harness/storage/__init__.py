"""Files: the only writer, hashes, strict readers, the redaction of secrets, the escaping of
strangers' text.

A file is either the old one or the new one, never half of one; whatever is written passes through
the redaction. Strict readers and the escaping are imported from their modules.
"""

from ft_harness.storage.hashing import canonical_json, sha256_file, sha256_once, sha256_text
from ft_harness.storage.redaction import (
    REDACTED,
    learn_secrets,
    redact,
    redact_values,
    redacted_output,
)
from ft_harness.storage.writing import (
    DROPPED,
    GZIP_LINES,
    LOCK_FILE,
    append_line,
    append_lines,
    drop_folder,
    free_bytes,
    locked,
    problems,
    put_folder,
    remove,
    write_bytes,
    write_gzip_lines,
    write_text,
)

__all__ = [
    "DROPPED",
    "GZIP_LINES",
    "LOCK_FILE",
    "REDACTED",
    "append_line",
    "append_lines",
    "canonical_json",
    "drop_folder",
    "free_bytes",
    "learn_secrets",
    "locked",
    "problems",
    "put_folder",
    "redact",
    "redact_values",
    "redacted_output",
    "remove",
    "sha256_file",
    "sha256_once",
    "sha256_text",
    "write_bytes",
    "write_gzip_lines",
    "write_text",
]
