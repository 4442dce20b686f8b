"""The users' files (tables, YAML, .env) turned into typed, checked values.

Every error names file, line and key, says what was expected, and the nearest right name.
"""
