evaluate_1() { # mera_parus
  local PATH=/env/evaluator/bin:$PATH
  local -x PYTHONPATH=/group/repo/MERA
  local -x HF_DATASETS_CACHE=/group/cache/mera
  local -x HF_DATASETS_IN_MEMORY_MAX_SIZE=23400000
  local -x TOKENIZERS_PARALLELISM=false
  local arguments=pretrained=org/name,dtype=bfloat16,tensor_parallel_size=2,gpu_memory_utilization=0.45
  start evaluator "$work_dir" "$log" \
    lm_eval --model vllm --model_args "$arguments" \
    --include_path /group/repo/MERA/benchmark_tasks --tasks parus \
    --num_fewshot 1 \
    --batch_size 1 \
    --device cuda \
    --seed 1234 \
    --predict_only \
    --verbosity ERROR \
    --gen_kwargs do_sample=False \
    --system_instruction 'Кратко.' \
    --output_path "$attempt_dir/results"/mera/parus --log_samples
}
