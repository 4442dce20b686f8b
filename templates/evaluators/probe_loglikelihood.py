#!/usr/bin/env python3
"""Ask a server once for what a log-likelihood task needs: echo and logprobs of a given text.

    PROBE_KEY=... python3 probe_loglikelihood.py URL MODEL

Ends with 0 if it gives them, with 1 if it answers without them, with 2 if it gives no answer.
"""

import json
import os
import sys
import urllib.error
import urllib.request

url, model = sys.argv[1:3]
body = {"model": model, "prompt": "The sky is blue.", "max_tokens": 1, "temperature": 0}
request = urllib.request.Request(
    url,
    json.dumps({**body, "echo": True, "logprobs": 1}).encode(),
    {
        "Authorization": f"Bearer {os.environ.pop('PROBE_KEY', '')}",
        "Content-Type": "application/json",
    },
)
try:
    with urllib.request.urlopen(request, timeout=100) as response:
        answer = json.load(response)
except urllib.error.HTTPError as error:
    print(f"no log-likelihoods: {url} answers {error.code} to echo and logprobs")
    sys.exit(1)
except (OSError, ValueError) as error:
    print(f"no answer from {url}: {error}")
    sys.exit(2)
try:
    told = answer["choices"][0]["logprobs"]
    numbers = [one for one in told["token_logprobs"] if one is not None]
    good = len(numbers) > 2 and all(one <= 0 for one in numbers) and told["top_logprobs"]
except (KeyError, IndexError, TypeError):
    good = False
print("it gives log-likelihoods" if good else "no log-likelihoods: it answers without them")
sys.exit(0 if good else 1)
