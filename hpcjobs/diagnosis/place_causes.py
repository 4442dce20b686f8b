"""Known causes that lie with the node, the disk, the environment or the scheduler."""

from __future__ import annotations

from hpcjobs.diagnosis.cause import JOB, SCHEDULER, Again, Cause, Kind, Sign

_JOB = (JOB,)
_OUTSIDE = (SCHEDULER, JOB)

PLACE_CAUSES = (
    Cause(
        "walltime",
        "not finished at the walltime",
        "raise the walltime in conf/tasks_runtime.csv, or choose a faster node; see the advice, if"
        " any, on what was slow",
        Again.CHANGED,
        (
            Sign("failed, deadline:", _JOB),
            Sign("DUE TO TIME LIMIT", _OUTSIDE),
            Sign("job killed: walltime", _OUTSIDE),
        ),
        failures=("deadline",),
        reasons=("TIMEOUT",),
    ),
    Cause(
        "host_memory",
        "the node's main memory ran out, and the system killed a process",
        "choose a node with more memory, or load the model in another way",
        Again.CHANGED,
        (
            Sign("oom-kill event", _OUTSIDE),
            Sign("oom_kill event", _OUTSIDE),
            Sign("exceeded memory limit", _OUTSIDE),
            Sign("Exceeded job memory limit", _OUTSIDE),
            Sign("DUE TO MEMORY LIMIT", _OUTSIDE),
            Sign("job killed: mem", _OUTSIDE),
        ),
        reasons=("OUT_OF_MEMORY",),
    ),
    Cause(
        "node_failure",
        "the node failed",
        "submit it again",
        Again.ITSELF,
        (Sign("DUE TO NODE FAILURE", _OUTSIDE),),
        reasons=("NODE_FAILURE",),
    ),
    Cause(
        "preempted",
        "the site took the node away, for a job that goes first",
        "submit it again, or with a higher priority",
        Again.ITSELF,
        (Sign("DUE TO PREEMPTION", _OUTSIDE), Sign("DUE TO JOB REQUEUE", _OUTSIDE)),
        reasons=("PREEMPTED",),
    ),
    Cause(
        "scheduler_error",
        "the scheduler could not start the job",
        "read what the scheduler says; check that the node sees the job's directory",
        Again.CHANGED,
        reasons=("SCHEDULER_ERROR",),
    ),
    Cause(
        "submit_failed",
        "the scheduler never took the job",
        "submit it again",
        Again.ITSELF,
        reasons=("SUBMIT_FAILED",),
    ),
    Cause(
        "vanished",
        "the job vanished: in no queue, in no accounting, and it left no exit code",
        "submit it again; tell the site if it happens often",
        Again.ITSELF,
        kind=Kind.CONSEQUENCE,
        reasons=("VANISHED",),
    ),
    Cause(
        "disk_quota",
        "a quota of disk space or of files is used up",
        "delete what is not needed, or move HF_HOME, VLLM_CACHE_ROOT and the workspace elsewhere",
        Again.CHANGED,
        (Sign("Disk quota exceeded"), Sign("[Errno 122]")),
    ),
    Cause(
        "disk_full",
        "a disk is full",
        "free space where the log says, or point HF_HOME, VLLM_CACHE_ROOT and TMPDIR elsewhere",
        Again.CHANGED,
        (Sign("No space left on device"),),
    ),
    Cause(
        "no_permission",
        "a file may not be read or written",
        "check who owns the file that the log names, and where HF_HOME and the caches point",
        Again.CHANGED,
        (
            Sign("PermissionError: [Errno 13]"),
            Sign("Read-only file system"),
            Sign(": Permission denied", (JOB, SCHEDULER)),
        ),
    ),
    Cause(
        "no_directory",
        "a directory of the attempt could not be made",
        "check the quota, and whether the node sees the workspace's disk",
        Again.CHANGED,
        (Sign("failed, no_directory:", _JOB),),
        kind=Kind.CONSEQUENCE,
        failures=("no_directory",),
    ),
    Cause(
        "missing_module",
        "a Python module is missing in the environment",
        "install it into the environment that the service names for this server or evaluator",
        Again.CHANGED,
        (
            Sign("ModuleNotFoundError: No module named"),
            Sign("ImportError: cannot import name"),
            Sign("cannot import xllamacpp"),
            Sign("No module named ", form=r"python[\d.]*: No module named "),
        ),
    ),
    Cause(
        "missing_library",
        "a system library is missing or does not fit",
        "load the site's modules (modules: of the service), or install a build made for this node",
        Again.CHANGED,
        (
            Sign("cannot open shared object file", form="ImportError|OSError|error while loading"),
            Sign("' not found (required by ", form="GLIBC|CXXABI"),
            Sign("undefined symbol: ", form="ImportError|OSError"),
        ),
    ),
    Cause(
        "command_not_found",
        "a program is not on the job's PATH",
        "set environments: of the service to where it is installed, or load its module",
        Again.CHANGED,
        (Sign("failed, command_not_found:", _JOB),),
        failures=("command_not_found",),
    ),
    Cause(
        "unknown_lighteval",
        "the installed lighteval has another command line than hpcjobs knows",
        "install 0.8 (Swallow's fork) or 0.13, or name the option dialect in conf/frameworks.yaml",
        Again.CHANGED,
        (Sign("failed, unknown_lighteval:", _JOB),),
        failures=("unknown_lighteval",),
    ),
    Cause(
        "no_key",
        "a key is not set in .env",
        "write it into .env, on the disk that the job sees",
        Again.CHANGED,
        (Sign("failed, no_key:", _JOB),),
        failures=("no_key",),
    ),
    Cause(
        "too_many_files",
        "too many files are open",
        "raise the limit (ulimit -n), or send fewer requests at a time",
        Again.CHANGED,
        (Sign("[Errno 24] Too many open files", unless="Found ulimit of|can cause fd limit"),),
    ),
    Cause(
        "too_many_processes",
        "no further process or thread may be started",
        "lower the number of threads (OMP_NUM_THREADS), or ask the site for the limit of processes",
        Again.CHANGED,
        (
            Sign("can't start new thread"),
            Sign("Resource temporarily unavailable", form="fork|thread|pthread_create|Errno 11"),
        ),
    ),
    Cause(
        "no_result",
        "it ended well, but left no whole result",
        "look at the end of the evaluator's log",
        Again.CHANGED,
        kind=Kind.CONSEQUENCE,
        reasons=("NO_RESULT",),
    ),
)
