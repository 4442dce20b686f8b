"""The results of evaluators: read whole, aggregated, and never guessed at."""
