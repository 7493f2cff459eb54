"""Peers of the benchmarks: how their environments are made, and one worker a library that trains and scores on request."""
