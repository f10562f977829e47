"""One module per command of the command line: thin, typed functions; `cli.py` lists them."""
