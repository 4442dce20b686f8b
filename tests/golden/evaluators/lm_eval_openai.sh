evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local url=https://api.openai.com/v1/chat/completions length=''
  local arguments='{"model": "o3-mini-2025-01-31", "num_concurrent": 4, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY=$OPENAI_API_KEY start evaluator "$work_dir" "$log" \
    lm_eval --model openai-chat-completions --model_args "$arguments" \
    --apply_chat_template \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
