"""Proofs about answers of models."""
