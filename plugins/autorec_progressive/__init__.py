"""Progressive search: simple candidates first, then larger children of the best."""
