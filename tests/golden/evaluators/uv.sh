prepare_server() {
  look_at_model
  [ "$(fact thinks)" != yes ] || fail 89 no_reasoning_parser \
    "its tokenizer has think tags: name a reasoning_parser in its settings (or: ignore)"
}

launch_server() {
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    uv run --isolated --locked --project /repo --extra vllm -- vllm serve "$weights" \
    --served-model-name "$model" "$proof" \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 1 \
    --gpu-memory-utilization 0.9 --dtype bfloat16
}

evaluate_1() { # xx_some
  local version
  version=$(uv run --isolated --locked --project '/re po' --extra lighteval -- python3 -c 'from importlib.metadata import version; print(version("lighteval"))' 2>>"$log")
  case $version in
    0.8.*)
      lighteval_0_8_of_1
      ;;
    0.13.*)
      lighteval_0_13_of_1
      ;;
    *) fail 91 unknown_lighteval "lighteval '$version' is neither 0.8 nor 0.13" ;;
  esac
}

lighteval_0_8_of_1() {
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/org/name"'
    printf '    base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  generation: {}\n'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    uv run --isolated --locked --project '/re po' --extra lighteval -- lighteval endpoint litellm model.yaml 'swallow|some_task|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}

lighteval_0_13_of_1() {
  {
    printf 'model_parameters:\n'
    printf '  model_name: %s\n' '"hosted_vllm/org/name"'
    printf '  base_url: "%s"\n' "http://127.0.0.1:$port/v1"
    printf '  cache_dir: "cache"\n' # of this attempt only: it keeps lost answers as empty ones
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY=$server_key
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    uv run --isolated --locked --project '/re po' --extra lighteval -- lighteval endpoint litellm model.yaml 'some_task|0' \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
