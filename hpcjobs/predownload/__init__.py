"""Models and data sets fetched into the caches, before the jobs that need them."""
