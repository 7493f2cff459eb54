"""The command line: thin commands that parse, call and print; each module is imported when its command runs."""
