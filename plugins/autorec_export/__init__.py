"""Bundles in other forms: `autorec export` with every installed exporter, and those for onnxruntime, Triton and Docker."""
