launch_server() {
  local PATH=/env/vllm/bin:$PATH
  VLLM_API_KEY=$server_key start server "$attempt_dir/work" "$attempt_dir/server.log" \
    vllm serve "$weights" \
    --served-model-name "$model" "$proof" \
    --host 127.0.0.1 --port "$port" \
    --tensor-parallel-size 1 \
    --gpu-memory-utilization 0.9 --dtype bfloat16
}

evaluate_1() { # mera_rummlu
  local PATH=/env/evaluator/bin:$PATH
  local -x PYTHONPATH=/group/repo/MERA
  local -x HF_DATASETS_CACHE=/group/cache/mera
  local -x HF_DATASETS_IN_MEMORY_MAX_SIZE=23400000
  local -x TOKENIZERS_PARALLELISM=false
  local url="http://127.0.0.1:$port/v1"/completions length=''
  ask_context_length
  length=,max_length=$context_length
  probe_loglikelihood "$url" org/name "$server_key"
  local arguments=model=org/name,num_concurrent=128,tokenizer=org/name",base_url=$url$length"
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-completions --model_args "$arguments" \
    --include_path /group/repo/MERA/benchmark_tasks --tasks rummlu \
    --num_fewshot 1 \
    --batch_size 1 \
    --device cuda \
    --seed 1234 \
    --predict_only \
    --verbosity ERROR \
    --gen_kwargs do_sample=False \
    --output_path "$attempt_dir/results"/mera/rummlu --log_samples
}
