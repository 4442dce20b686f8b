evaluate_1() { # xx_some
  local PATH=/env/evaluator/bin:$PATH
  local arguments='{"pretrained": "org/name"}'
  start evaluator "$work_dir" "$log" \
    lm_eval --model hf-multimodal --model_args "$arguments" \
    --include_path /opt/hpcjobs/conf/lm_eval_tasks --tasks mmmu_val \
    --output_path "$attempt_dir/results"/xx/some --log_samples
}
