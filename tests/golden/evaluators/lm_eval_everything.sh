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
  local -x TOKENIZERS_PARALLELISM=false
  local -x HF_DATASETS_CACHE='/a b/c'
  local -x LM_HARNESS_CACHE_PATH=${attempt_dir%/*}/lm_eval_requests
  local url="http://127.0.0.1:$port/v1"/chat/completions length=''
  local arguments='{"model": "org/name", "num_concurrent": 32, "timeout": 600, "chat_template_args": {"enable_thinking": false}, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$server_key start evaluator "$work_dir" "$log" \
    lm_eval --model local-chat-completions --model_args "$arguments" \
    --apply_chat_template rag \
    --include_path /own/tasks --tasks some_task \
    --num_fewshot 2 \
    --batch_size auto:4 \
    --max_batch_size 64 \
    --device cuda \
    --seed 1,2,3,4 \
    --fewshot_as_multiturn \
    --predict_only \
    --trust_remote_code \
    --confirm_run_unsafe_code \
    --metadata '{"lengths": [4096]}' \
    --verbosity DEBUG \
    --write_out \
    --show_config \
    --hf_hub_log_args hub_results_org=me,push_results_to_hub=True \
    --wandb_args project=p \
    --gen_kwargs '{"until": ["\n\n", "it'"'"'s"], "max_gen_toks": 128, "temperature": 0.6, "do_sample": true}' \
    --system_instruction 'Be brief, it'"'"'s late.' \
    --limit 0.1 \
    --use_cache "${attempt_dir%/*}"/lm_eval_answers/xx_some \
    --cache_requests refresh \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
