evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_name: %s\n' '"anthropic/x-1"'
    printf '    base_url: "%s"\n' https://api.anthropic.com
    printf '  generation: {}\n'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval endpoint litellm model.yaml 'swallow|some_task|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
