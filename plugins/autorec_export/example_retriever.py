"""The ten best items of a user whom training knew, new ones first: python example.py USER (numpy and onnxruntime alone)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
facts = json.loads((here / "metadata.json").read_text())
users, items = (json.loads((here / facts[name]).read_text()) for name in ("users", "items"))
popularity, offsets, seen = (np.load(here / facts[name]) for name in ("popularity", "seen_offsets", "seen_items"))
user = users.index(sys.argv[1]) if sys.argv[1] in users else 0

session = onnxruntime.InferenceSession(str(here / facts["model"]), providers=["CPUExecutionProvider"])
found = session.run(None, {one["name"]: np.load(here / one["values"])[[user]] for one in facts["inputs"]})[0][0]
if facts["vectors"]:  # user vectors [D], or [K, D] of several interests
    found = (np.atleast_2d(found) @ np.load(here / facts["vectors"]).T).max(axis=0)
scores = found if user else popularity
scores = np.where(np.isin(np.arange(len(items)), [0, *seen[offsets[user] : offsets[user + 1]]]), -np.inf, scores)
for row in np.argsort(-scores, kind="stable")[:10]:
    print(items[row], scores[row])
