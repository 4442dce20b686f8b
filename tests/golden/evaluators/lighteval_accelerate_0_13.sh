evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model_parameters:\n'
    printf '  %s\n' 'model_name: "org/name"'
    printf '  %s\n' 'dtype: "bfloat16"'
    printf '  cache_dir: "cache"\n' # of this attempt only: it keeps lost answers as empty ones
    printf '  generation_parameters:\n'
    printf '    %s\n' 'top_k: 5'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval accelerate model.yaml 'some_task|0' \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
