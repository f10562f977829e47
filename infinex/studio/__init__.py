"""The studio: a local web page and an HTTP API around the same job that `infinex animate` does."""
