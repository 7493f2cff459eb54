"""The stages of a run, each a function from records to a record: data, features, search, evaluate, deploy."""
