"""Telling people that jobs have ended: what is due, what it says, and how it is sent."""
