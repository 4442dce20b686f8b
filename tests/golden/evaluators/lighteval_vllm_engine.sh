evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  {
    printf 'model:\n  base_params:\n'
    printf '    model_args: %s\n' '"pretrained=org/name,dtype=bfloat16,tensor_parallel_size=1,data_parallel_size=2,gpu_memory_utilization=0.9,reasoning_parser=deepseek_r1"'
    printf '  generation:\n'
    printf '    %s\n' 'temperature: 0.0'
  } >"$work_dir/model.yaml"
  LITELLM_LOG=WARNING start evaluator "$work_dir" "$log" \
    lighteval vllm model.yaml 'swallow|gpqa:diamond|0|0' \
    --use-chat-template \
    --output-dir "$attempt_dir/results"/xx/some --save-details
}
