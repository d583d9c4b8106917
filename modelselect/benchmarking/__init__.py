"""Benchmark mode: estimators against known fine-tuning results, over many candidates and datasets."""
