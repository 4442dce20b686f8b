evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model_parameters:\n'
    printf '  %s\n' 'model_name: "org/name"'
    printf '  %s\n' 'dtype: "bfloat16"'
    printf '  %s\n' 'tensor_parallel_size: 1'
    printf '  %s\n' 'data_parallel_size: 1'
    printf '  %s\n' 'gpu_memory_utilization: 0.9'
    printf '  %s\n' 'max_model_length: 8192'
    printf '  cache_dir: "cache"\n' # of this attempt only: it keeps lost answers as empty ones
    printf '  generation_parameters:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval vllm model.yaml 'some_task|0' \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
