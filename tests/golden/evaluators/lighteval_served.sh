evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"hosted_vllm/org/name"'
    printf '    base_url: "%s"\n' http://10.1.2.3:8000/v1
    printf '  generation: {}\n'
  } >"$work_dir/model.yaml"
  local -x HOSTED_VLLM_API_KEY="${SERVED_API_KEY:-}"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|some_task|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
