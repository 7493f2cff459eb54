"""Predictions for items of one user, columns of the event unknown: python example.py USER ITEM ITEM (numpy and onnxruntime alone)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
facts = json.loads((here / "metadata.json").read_text())
users, items = (json.loads((here / facts[name]).read_text()) for name in ("users", "items"))
asked = [items.index(one) if one in items else 0 for one in sys.argv[2:]]
rows = {"user": [users.index(sys.argv[1]) if sys.argv[1] in users else 0] * len(asked), "item": asked}
feeds = {}
for one in facts["inputs"]:  # a row a user or item; what depends on the request is what it is where nothing is told
    told = np.array([one["unknown"]] * len(asked), one["dtype"])
    feeds[one["name"]] = np.load(here / one["values"])[rows[one["depends"]]] if one["values"] else told

session = onnxruntime.InferenceSession(str(here / facts["model"]), providers=["CPUExecutionProvider"])
found = session.run(None, feeds)[0].reshape(len(asked), -1)[:, 0]
for item, prediction in zip(sys.argv[2:], np.clip(found, *facts["outputs"][0]["range"]), strict=True):
    print(item, prediction)
