"""The `dohle` command. Exit codes: 0 done, 1 an error, which one line on stderr explains, 2 wrong usage, 130 Ctrl-C."""
