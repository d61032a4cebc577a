"""Measurements: run by `make bench`, kept under results/."""
