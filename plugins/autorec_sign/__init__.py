"""Who wrote a bundle: detached Ed25519 signatures of its manifest, the keys for them, and the check behind `--trust-key`."""
