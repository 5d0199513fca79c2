"""`python -m ft_harness`, and the command `ft-harness`; launchers such as accelerate and torchrun
take the former."""

import signal

# Ctrl-C while the command is loaded ends it without a word; from then on it says how to go on.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from ft_harness.cli import main

if __name__ == "__main__":
    main()
