"""A queue of our own, for GPU servers that have no scheduler.

It is a program apart, driven like qsub, qstat and qdel through `python -m hpcjobs.local`. A
supervisor process lives only while jobs are queued or running; all it knows is in the spool, so
that it may be killed at any moment and another goes on where it stopped.

    options -> spool (a directory a job) -> slots (which may start) -> starter (claims, then execs)
                                         -> running (watched, adopted) -> ending (TERM, then KILL)
"""
