"""The report of a run: what its folder holds, as one HTML page that needs nothing beside it.

`read_run` (run.py) reads the folder, `write_report` (page.py) makes the page. It can be made of a run that was
interrupted, or that still goes on: what is missing then is said.
"""
