"""A campaign at work: rows become jobs, and for each job it is decided what to do."""
