"""`python -m dohle` is the `dohle` command."""

from dohle.cli.main import main

main()
