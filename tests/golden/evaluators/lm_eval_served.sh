evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local url=http://10.1.2.3:8000/v1/completions length=''
  probe_loglikelihood "$url" org/name "${SERVED_API_KEY:-}"
  local arguments='{"model": "org/name", "num_concurrent": 4, "max_length": 8192, "base_url": "'"$url"'"'"$length"'}'
  OPENAI_API_KEY="${SERVED_API_KEY:-}" start evaluator "$work_dir" "$log" \
    lm_eval --model local-completions --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --num_fewshot 5 \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
