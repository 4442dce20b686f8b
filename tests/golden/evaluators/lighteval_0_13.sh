prepare_server() {
  look_at_model
  [ "$(fact thinks)" != yes ] || fail 89 no_reasoning_parser \
    "its tokenizer has think tags: name a reasoning_parser in its settings (or: ignore)"
}

launch_server() {
  local PATH=/env/vllm/bin:$PATH
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    vllm serve "$weights" \
    --served-model-name "$model" "$proof" \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 1 \
    --gpu-memory-utilization 0.9 --dtype bfloat16
}

evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model_parameters:\n'
    printf '  model_name: %s\n' '"hosted_vllm/org/name"'
    printf '  base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  concurrent_requests: %s\n' 64
    printf '  timeout: %s\n' 3600
    printf '  %s\n' 'api_max_retry: 3'
    printf '  system_prompt: %s\n' '"It'"'"'s late.\nBe brief."'
    printf '  cache_dir: "cache"\n' # of this attempt only: it keeps lost answers as empty ones
    printf '  generation_parameters:\n'
    printf '    %s\n' 'temperature: 0.6'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'gsm8k|4' \
    --reasoning-tags '[('"'"'<a>'"'"', '"'"'</a>'"'"')]' \
    --load-tasks-multilingual \
    --no-remove-reasoning-tags \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
