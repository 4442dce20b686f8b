evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local arguments='{"pretrained": "org/name", "tensor_parallel_size": 2, "data_parallel_size": 2, "gpu_memory_utilization": 0.9}'
  start evaluator "$work_dir" "$log" \
    lm_eval --model vllm --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
