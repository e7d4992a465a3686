"""`python -m warminit.cli`: the command `warminit`."""

from warminit.cli import main

main()
