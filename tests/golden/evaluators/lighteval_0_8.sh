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
    printf '  generation: {}\n'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'lighteval|gsm8k|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
