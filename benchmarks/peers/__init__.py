"""Drivers of the systems that are measured side by side: one module each, run in its own environment.

A driver imports numpy, its library and ``protocol``, and nothing of privsynth unless it drives privsynth.
"""
