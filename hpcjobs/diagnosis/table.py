"""All known causes, and those that are seen from the server's figures."""

from __future__ import annotations

from collections.abc import Mapping

from hpcjobs.diagnosis.cause import SERVER, Again, Cause, Kind, Sign
from hpcjobs.diagnosis.evaluation_causes import EVALUATION_CAUSES
from hpcjobs.diagnosis.place_causes import PLACE_CAUSES
from hpcjobs.diagnosis.server_causes import SERVER_CAUSES

KV_CACHE_FULL = Cause(
    "kv_cache_full",
    "the KV cache was full: requests waited for memory",
    "lower max_model_length or the number of requests at a time, or choose more GPUs",
    Again.CHANGED,
    (Sign("because there is not enough KV cache space", (SERVER,), "preempted"),),
    kind=Kind.ADVICE,
    warns=True,
)

LOW_GPU_USE = Cause(
    "low_gpu_use",
    "the GPU was used little: it could have answered more requests at a time",
    "raise LITELLM_CONCURRENT_CALLS (lighteval; 20 unless set) under exports: of the service",
    Again.CHANGED,
    kind=Kind.ADVICE,
    warns=True,
)

ENDLESS_ANSWERS = Cause(
    "endless_answers",
    "some answers went on and on: endless repetition, or reasoning that finds no end",
    "look at the answers in the results; lower max_new_tokens or max_model_length, or change"
    " temperature and top_p to what the model's card says",
    Again.CHANGED,
    kind=Kind.ADVICE,
    warns=True,
)

CAUSES = (
    *SERVER_CAUSES,
    *EVALUATION_CAUSES,
    *PLACE_CAUSES,
    KV_CACHE_FULL,
    LOW_GPU_USE,
    ENDLESS_ANSWERS,
)

BY_ID: Mapping[str, Cause] = {cause.id: cause for cause in CAUSES}
