launch_server() {
  local PATH=/env/vllm/bin:$PATH
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    vllm serve "$weights" \
    --served-model-name "$model" "$proof" \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 1 \
    --max-model-len 4096 \
    --gpu-memory-utilization 0.9 --dtype bfloat16
}

evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local url="http://127.0.0.1:$port/v1"/completions length=''
  probe_loglikelihood "$url" org/name "$server_key"
  local arguments='{"model": "org/name", "num_concurrent": 4, "max_length": 4096, "tokenizer": "org/name", "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-completions --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --num_fewshot 5 \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
