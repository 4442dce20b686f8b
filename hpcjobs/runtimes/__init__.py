"""Walltimes learned: what ended jobs took, and what the runtime table could say of it."""
