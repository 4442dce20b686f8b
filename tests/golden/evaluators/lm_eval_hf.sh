evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local arguments='{"pretrained": "org/name", "dtype": "bfloat16", "max_length": 4096, "parallelize": true, "peft": "/adapter"}'
  start evaluator "$work_dir" "$log" \
    lm_eval --model hf --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks some_task \
    --num_fewshot 5 \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
