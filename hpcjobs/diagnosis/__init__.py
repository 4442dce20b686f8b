"""Why a job failed: what its logs show, in the words of a table of known causes."""
