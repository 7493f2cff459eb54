"""A bundle behind HTTP: `autorec serve BUNDLE` answers JSON with FastAPI and uvicorn, on loopback unless told otherwise."""
