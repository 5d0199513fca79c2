"""Files: the only writer, hashes, strict readers, locks, the redaction of secrets, the escaping of
untrusted text, the gate of the terminal.

A file is either the old one or the new one, never half of one; whatever is written or printed
passes through the redaction. Strict readers, escaping and gate are imported from their modules.
"""

from ft_harness.storage.hashing import canonical_json, sha256_file, sha256_once, sha256_text
from ft_harness.storage.lock import LOCK_FILE, InUseError, locked
from ft_harness.storage.redaction import learn_secrets, redact, redact_values
from ft_harness.storage.seal import sealed_parts, sealed_text, unsealed
from ft_harness.storage.writing import (
    DROPPED,
    GZIP_LINES,
    append_line,
    append_lines,
    check_kept,
    drop_folder,
    find_limit,
    free_bytes,
    full_disk,
    is_full,
    keep_aside,
    lost_folder,
    problems,
    put_folder,
    remove,
    write_bytes,
    write_gzip_lines,
    write_json_list,
    write_parts,
    write_text,
)
