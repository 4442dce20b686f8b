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
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/org/name"'
    printf '    base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  generation:\n'
    printf '    %s\n' 'max_n: 8'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  local -x LITELLM_CONCURRENT_CALLS=64
  local -x REQUEST_TIMEOUT=3600
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|lcb:codegeneration_v5_v6|3|0' \
    --use-chat-template \
    --system-prompt 'It'"'"'s late.' \
    --custom-tasks /own/tasks.py \
    --dataset-loading-processes 4 \
    --output-subdir a \
    --results-org me \
    --push-to-hub \
    --public-run \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
