"""What `hpcjobs doctor` looks at before anything is submitted: small checks, each on its own.

Nothing is submitted, nothing is spent; all that is written are probe files, removed at once.
"""
