"""`python -m ft_harness`: the command, for launchers such as accelerate and torchrun."""

from ft_harness.cli import main

main()
