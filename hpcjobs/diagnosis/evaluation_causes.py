"""Known causes that lie with the evaluator, its requests, or what it downloads."""

from __future__ import annotations

from hpcjobs.diagnosis.cause import SERVER, TASK, Again, Cause, Kind, Sign

_TASK = (TASK,)
_BOTH = (SERVER, TASK)
_HUB = r"huggingface\.co|hf\.co|[Hh]ugging[Ff]ace|HfHub"

EVALUATION_CAUSES = (
    Cause(
        "gated",
        "the model or data set is gated, and this token has no access",
        "ask for access on its page at huggingface.co, and put that account's HF_TOKEN into .env",
        Again.CHANGED,
        (
            Sign("GatedRepoError", _BOTH),
            Sign("Cannot access gated repo", _BOTH),
            Sign("You are trying to access a gated repo", _BOTH),
            Sign("is a gated dataset on the Hub", _BOTH),
        ),
    ),
    Cause(
        "hub_rate_limit",
        "Hugging Face refused further requests (429)",
        "wait and submit it again; set HF_TOKEN; fetch before, with hpcjobs predownload",
        Again.ITSELF,
        (
            Sign("429 Client Error: Too Many Requests", _BOTH, _HUB),
            Sign("429 Too Many Requests: you have reached your", _BOTH),
            Sign("429 Too Many Requests for url", _BOTH, _HUB),
            Sign("HTTP Error 429 thrown while requesting", _BOTH, weak=True),
        ),
    ),
    Cause(
        "hub_unreachable",
        "Hugging Face could not be reached from the node",
        "fetch before, where there is a network: hpcjobs predownload; or try again later",
        Again.ITSELF,
        (
            Sign("OfflineModeIsEnabled", _BOTH),
            Sign("Couldn't reach ", _BOTH, "on the Hub"),
            Sign("We couldn't connect to 'https://huggingface.co'", _BOTH),
            Sign("Max retries exceeded with url", _BOTH, r"host='(huggingface\.co|[\w.-]*hf\.co)'"),
        ),
    ),
    Cause(
        "data_not_found",
        "the task's data set is not on Hugging Face, or not in the local cache",
        "check the task's data set; fetch it before, by hpcjobs predownload",
        Again.CHANGED,
        (
            Sign("DatasetNotFoundError", _TASK, unless="gated"),
            Sign("LocalEntryNotFoundError", _TASK),
            Sign("RepositoryNotFoundError", _TASK),
            Sign("No (supported) data files found", _TASK),
            Sign("Dataset scripts are no longer supported", _TASK),
        ),
    ),
    Cause(
        "unknown_task",
        "the evaluator does not know this task",
        "check the column `script` in conf/tasks_runtime.csv against the installed evaluator",
        Again.CHANGED,
        (
            Sign("ValueError: Tasks not found", _TASK),
            Sign("Cannot find tasks ", _TASK),
            Sign("Cannot find task ", _TASK),
            Sign("Tasks were not found", _TASK),
        ),
    ),
    Cause(
        "request_timeout",
        "answers took longer than the evaluator waits, and were given up",
        "raise REQUEST_TIMEOUT (seconds; exports: of the service), lower the number of requests at"
        " a time (LITELLM_CONCURRENT_CALLS) or max_new_tokens",
        Again.CHANGED,
        (
            Sign("litellm.Timeout", _TASK),
            Sign("APITimeoutError", _TASK),
            Sign("TimeoutError", _TASK, r"^(asyncio\.(exceptions\.)?)?TimeoutError\s*:?\s*$"),
            Sign("ReadTimeout", _TASK, r"127\.0\.0\.1|localhost"),
            Sign("Aborted request", (SERVER,), r"Aborted request(\(s\))? ", weak=True),
        ),
        warns=True,
    ),
    Cause(
        "prompt_too_long",
        "prompts are longer than the server's context, and were refused",
        "raise max_model_length, or lower max_new_tokens",
        Again.CHANGED,
        (
            Sign("maximum context length is", _BOTH),
            Sign("ContextWindowExceededError", _TASK),
            Sign("longer than the maximum model length", _BOTH),
            Sign("cannot be greater than max_model_len", _BOTH),
            Sign("exceeds the available context size", _BOTH),
        ),
        warns=True,
    ),
    Cause(
        "server_errors",
        "the server answered requests with errors (HTTP 500)",
        "look for the error in server.log",
        Again.ITSELF,
        (
            Sign("500 Internal Server Error", (SERVER,), weak=True),
            Sign("API request failed! Status code: 5", _TASK, weak=True),
            Sign("500 Server Error", _TASK, "127.0.0.1|localhost", weak=True),
            Sign(
                "litellm.InternalServerError",
                _TASK,
                unless="Connection|refused|disconnected",
                weak=True,
            ),
        ),
        warns=True,
    ),
    Cause(
        "wrong_model_name",
        "the server does not serve a model of this name, or not this kind of request",
        "see which server answered; a model's name must be written as on its provider",
        Again.CHANGED,
        (
            Sign("NotFoundError", _TASK, "The model .* does not exist"),
            Sign("404 Client Error: Not Found for url", _TASK, "/v1/(chat/)?completions"),
        ),
        warns=True,
    ),
    Cause(
        "no_logprobs",
        "the task needs log-probabilities of the prompt, which this server does not give",
        "use vllm for this task, or a generative variant of it",
        Again.NEVER,
        (
            Sign('choice["logprobs"]["token_logprobs"]', _TASK),
            Sign("KeyError: 'token_logprobs'", _TASK),
            Sign("Loglikelihood is not supported for chat completions", _TASK),
            Sign("failed, no_loglikelihood:", ("job",)),
        ),
        failures=("no_loglikelihood",),
    ),
    Cause(
        "no_context_length",
        "plain text is asked for, and the server does not say how long it may be",
        "set max_model_length in the model's settings",
        Again.CHANGED,
        (Sign("failed, no_context_length:", ("job",)),),
        failures=("no_context_length",),
    ),
    Cause(
        "chat_template",
        "the model has no chat template, or the evaluator was not told to use it",
        "use an instruction-tuned model, or give the server a template (--chat-template)",
        Again.CHANGED,
        (
            Sign("ensure --apply_chat_template is set", _TASK),
            Sign("default chat template is no longer allowed", _BOTH),
            Sign("tokenizer.chat_template is not set", _BOTH),
        ),
    ),
    Cause(
        "provider_quota",
        "the account at the provider has no credit left",
        "see to the account's billing, or use another key",
        Again.CHANGED,
        (Sign("insufficient_quota", _TASK), Sign("You exceeded your current quota", _TASK)),
        warns=True,
    ),
    Cause(
        "provider_rate_limit",
        "the provider refused requests for being too many (429)",
        "lower LITELLM_CONCURRENT_CALLS, or wait and submit it again",
        Again.ITSELF,
        (
            Sign("litellm.RateLimitError", _TASK, unless="insufficient_quota|current quota"),
            Sign("API request failed! Status code: 429", _TASK, weak=True),
        ),
        warns=True,
    ),
    Cause(
        "key_refused",
        "the provider does not accept the key",
        "put a valid key into .env, under the name that the provider wants",
        Again.CHANGED,
        (
            Sign("litellm.AuthenticationError", _TASK),
            Sign("openai.AuthenticationError", _TASK),
            Sign("invalid_api_key", _TASK),
            Sign("API request failed! Status code: 401", _TASK),
        ),
        warns=True,
    ),
    Cause(
        "cached_answers",
        "answers were taken from lighteval's cache, not from this server",
        "delete lighteval_cache and submit it again: lost answers are cached, too, and score 0",
        Again.CHANGED,
        (Sign("samples are cached for tasks", _TASK, r"Cache: (\d*[1-9]\d*)/\d+ samples"),),
        kind=Kind.ADVICE,
        warns=True,
    ),
    Cause(
        "lost_answers",
        "answers were lost and count as wrong: the score is too low",
        "do not use this score; see in the evaluator's log why the calls failed",
        Again.ITSELF,
        (Sign("returning empty response", _TASK), Sign("Returning empty response", _TASK)),
        kind=Kind.CONSEQUENCE,
        warns=True,
    ),
)
