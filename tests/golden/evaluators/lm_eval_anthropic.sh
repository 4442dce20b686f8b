evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local url=https://api.anthropic.com/v1/messages length=''
  local arguments='{"model": "x-1", "num_concurrent": 4, "base_url": "'"$url"'"'"$length"'}'
  ANTHROPIC_API_KEY=$ANTHROPIC_API_KEY start evaluator "$work_dir" "$log" \
    lm_eval --model anthropic-chat --model_args "$arguments" \
    --apply_chat_template \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
