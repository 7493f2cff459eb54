"""The compression plan: probes of every compressor, a joint choice of order and strength, finalists that are timed, a certificate."""
